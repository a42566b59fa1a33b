/** What keeps a database from working that is nobody's mistake: its disk is full, or it does not answer. */
export type Outage = 'full' | 'unreachable'

/** The database server does not answer, or went away in the middle; the message says what to do. */
export class DatabaseUnavailableError extends Error {
  override readonly name = 'DatabaseUnavailableError'

  constructor(cause: unknown) {
    super(`The database cannot be reached (${reasonOf(cause)}). Start it, or correct the setting 'database'.`, {
      cause,
    })
  }
}

/** Several addresses that all refused come as one error without words of its own. */
function reasonOf(cause: unknown): string {
  const first = cause instanceof AggregateError ? cause.errors[0] : cause
  return first instanceof Error ? first.message : String(first)
}
