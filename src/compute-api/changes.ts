/**
 * How the shapes of versions differ. Handlers know the newest shape; a change says how one version made it what it is,
 * and undoes that for who speaks an older one.
 */
export interface Change<Answer extends object> {
  /** The version that brought it: N of 2.N. */
  since: number
  /** The answer as it was the version before. */
  undo(newest: Answer): Answer
}

/** The answer as a version has it. @param changes newest first. */
export function asOfVersion<Answer extends object>(
  changes: readonly Change<Answer>[],
  version: number,
  newest: Answer,
): Answer {
  let answer = newest
  for (const { since, undo } of changes) {
    if (since <= version) break
    answer = undo(answer)
  }
  return answer
}

/** A change that brought members; older answers do not have them. */
export const brought = (since: number, ...members: string[]): Change<Record<string, unknown>> => ({
  since,
  undo: (newest) => Object.fromEntries(Object.entries(newest).filter(([member]) => !members.includes(member))),
})
