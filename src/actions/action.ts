/**
 * Durable actions: long work as a row, not as a promise.
 *
 * An action is a table of named steps. The runner leases a due row, runs its step, and commits in one transaction what
 * the step wants saved together with the move to the next step. A process that dies resumes at the step.
 *
 *   accepted ──► step ──go──► step ──…──► done                 result Success
 *                 │ ▲ waitMs      │ throws: again, later, until the deadline
 *                 └─┘             ▼
 *                             failed() ──go──► clean-up steps ──► done   result Error
 *   a takeover (delete, hard reboot) closes it at any point             result Superseded
 *
 * What a step owes: it reads, asks the host and returns what it wants written; its effect may happen twice; it never
 * sleeps (it returns `waitMs`) and never retries (the runner does).
 */
import type { Tx } from '../db/database.ts'

/** Writes what a step found out; runs in the transaction that moves the action on. */
export type Save = (tx: Tx) => Promise<void>

export type Outcome<Step extends string> =
  | { go: Step; save?: Save }
  | { waitMs: number; save?: Save }
  | { done: true; save?: Save }

/** What every step gets besides its own subject. */
export interface StepFacts<Input> {
  input: Input
  /** What of the wish is secret, sealed; null where nothing is. */
  sealedSecret: string | null
  /** Milliseconds since the action was accepted. */
  ageMs: number
  /** Milliseconds since the action came to this step. */
  stepAgeMs: number
}

/**
 * @typeParam Subject what the steps work on, read anew before each: `{ server, host }` for servers.
 */
export interface Action<Input, Step extends string, Subject> {
  /** Data in the database, like the names of the steps: renaming is a migration. */
  name: string
  first: Step
  /** How long the whole may take, in milliseconds; then `failed` decides. Cleaning up gets as long again. */
  deadlineMs: number
  /** Reads the subject; undefined when it is gone, which closes the action. */
  read(resourceId: string): Promise<Subject | undefined>
  steps: { [S in Step]: (context: Subject & StepFacts<Input>) => Promise<Outcome<Step>> }
  /** Written in the transaction that enters a step: the task state its users see. */
  entering?(tx: Tx, resourceId: string, step: Step, input: Input): Promise<void>
  /** Once, when a step fails for good or the deadline passes; an answer of `go` cleans up first. */
  failed(context: Subject & StepFacts<Input>, error: Error): Outcome<Step>
  /** When cleaning up fails too, in its own deadline: must leave a state that a user can delete. */
  abandoned?(tx: Tx, resourceId: string, error: Error): Promise<void>
}

/** An action of any kind, as the runner sees it. */
// biome-ignore lint/suspicious/noExplicitAny: the runner only hands values of an action back to the same action.
export type AnyAction = Action<any, any, any>

/** The action took longer than it may. */
export class DeadlineError extends Error {
  override readonly name = 'DeadlineError'
  readonly isFinal = true

  constructor(action: string, step: string) {
    super(`'${action}' was not done in time; it hung at '${step}'.`)
  }
}

/** Whether asking again could end otherwise; failures that know better say so with `isFinal`. */
export function isFinal(error: unknown): boolean {
  return (error as { isFinal?: unknown } | null)?.isFinal === true
}
