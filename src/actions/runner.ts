import type { Logger } from 'pino'
import type { Database, Tx } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { Clock } from '../lib/clock.ts'
import { type AnyAction, DeadlineError, isFinal, type Outcome, type Save } from './action.ts'
import {
  LEASE_MS,
  type Leased,
  LeaseLostError,
  leaseDue,
  nextDueAt,
  releaseLease,
  renewLeases,
  updateLeased,
  voidLeases,
} from './leases.ts'

/** Actions of one process under way at once; host calls wait, they do not compute. */
const AT_ONCE = 64
/** How often leases are renewed and forgotten work is looked for, in milliseconds. */
const HEARTBEAT_MS = 5_000
/** How long an orderly stop waits for steps under way, in milliseconds. */
const STOP_PATIENCE_MS = 10_000
/** Pauses between tries of a failing step, in milliseconds: 250, 500, … up to the longest. */
const FIRST_PAUSE_MS = 250
const LONGEST_PAUSE_MS = 10_000

export interface RunnerOptions {
  db: Database
  actions: AnyAction[]
  clock: Clock
  log: Logger
  /** Called after each step, for the metrics. Duration in milliseconds. */
  onStep?: (action: string, step: string, result: 'Success' | 'Error', durationMs: number) => void
}

/** Runs durable actions: leases due ones, runs their steps, commits their moves. Start any number on one database. */
export class Runner implements AsyncDisposable {
  readonly #options: RunnerOptions
  readonly #actions: Map<string, AnyAction>
  readonly #running = new Map<number, { lease: Leased; run: Promise<void> }>()
  #isStopping = false
  #looking: Promise<void> | undefined
  #lookAgain = false
  #cancelWakeUp: (() => void) | undefined
  #cancelHeartbeat: (() => void) | undefined

  constructor(options: RunnerOptions) {
    this.#options = options
    this.#actions = new Map(options.actions.map((action) => [action.name, action]))
  }

  /** Starts looking for work. SQLite has one process, so leases left behind are those of a dead one. */
  async start(): Promise<void> {
    if (this.#options.db.kind === 'sqlite') await this.#options.db.transaction(voidLeases)
    this.#beat()
    this.nudge()
  }

  /** Something may be due: look now. Carries no data, and costs nothing when it is wrong. */
  nudge(): void {
    if (this.#isStopping) return
    if (this.#looking) {
      this.#lookAgain = true
      return
    }
    this.#looking = this.#look().finally(() => {
      this.#looking = undefined
      if (this.#lookAgain) {
        this.#lookAgain = false
        this.nudge()
      }
    })
  }

  /** Resolves when nothing is under way in this process; what waits for its time is not under way. */
  async settled(): Promise<void> {
    while (this.#looking || this.#running.size > 0) {
      await Promise.all([this.#looking, ...[...this.#running.values()].map(({ run }) => run)])
    }
  }

  async #look(): Promise<void> {
    const { db, clock, log } = this.#options
    try {
      const free = AT_ONCE - this.#running.size
      if (free > 0) {
        const wish = { names: [...this.#actions.keys()], running: [...this.#running.keys()], limit: free }
        for (const lease of await leaseDue(db, wish, clock.now())) {
          const run = this.#run(lease).finally(() => {
            this.#running.delete(lease.id)
            this.nudge()
          })
          this.#running.set(lease.id, { lease, run })
        }
      }
      const at = await nextDueAt(db, clock.now())
      this.#cancelWakeUp?.()
      this.#cancelWakeUp = undefined
      if (at !== undefined) {
        this.#cancelWakeUp = clock.after(Math.min(Math.max(at - clock.now(), 0), HEARTBEAT_MS), () => this.nudge())
      }
    } catch (error) {
      if (!this.#isStopping) log.error({ err: error }, 'looking for due actions failed')
    }
  }

  #beat(): void {
    this.#cancelHeartbeat = this.#options.clock.after(HEARTBEAT_MS, () => {
      const { db, clock, log } = this.#options
      const leases = [...this.#running.values()].map(({ lease }) => lease)
      db.transaction((tx) => renewLeases(tx, leases, clock.now()))
        .catch((error) => log.error({ err: error }, 'renewing leases failed'))
        .finally(() => {
          if (this.#isStopping) return
          this.nudge()
          this.#beat()
        })
    })
  }

  /** Runs one leased action from step to step until it waits, ends, or loses its lease. */
  async #run(row: Leased): Promise<void> {
    const { db, clock, log } = this.#options
    const facts = { action: row.name, actionId: row.id, resourceId: row.resourceId, requestId: row.requestId }
    try {
      let current: Leased | undefined = row
      while (current) current = this.#isStopping ? await this.#letGo(current) : await this.#step(current)
    } catch (error) {
      if (!(error instanceof LeaseLostError)) log.error({ err: error, ...facts }, 'an action could not be moved on')
      // The pause keeps a database that refuses from being asked in a tight loop.
      const pause = error instanceof LeaseLostError ? {} : { dueAt: clock.now() + FIRST_PAUSE_MS }
      await db
        .transaction(async (tx) => {
          if (pause.dueAt) await updateLeased(tx, row, pause)
          await releaseLease(tx, row)
        })
        .catch(() => {})
    }
  }

  async #letGo(row: Leased): Promise<undefined> {
    await this.#options.db.transaction((tx) => releaseLease(tx, row))
    return undefined
  }

  /** One step: the row to go on with, or undefined when there is nothing to do now. */
  async #step(row: Leased): Promise<Leased | undefined> {
    const { clock, log } = this.#options
    const action = this.#actions.get(row.name)
    if (!action) throw new Error(`No action is named ${row.name}.`)
    const startedAt = clock.now()
    const subject = await action.read(row.resourceId)
    if (!subject) return this.#commit(action, row, { done: true }, { startedAt, failure: 'The resource is gone.' })
    // Assigned, not spread: a getter of the subject throws only in the step that uses it.
    const context = Object.assign(subject, {
      input: JSON.parse(row.input),
      sealedSecret: row.sealedSecret,
      ageMs: startedAt - row.acceptedAt,
      stepAgeMs: startedAt - row.stepEnteredAt,
    })
    try {
      if (startedAt > row.deadlineAt) throw new DeadlineError(row.name, row.step)
      const step = action.steps[row.step]
      if (!step) throw new Error(`Action ${row.name} has no step ${row.step}; a newer Novella accepted it.`)
      const outcome = await this.#withinDeadline<Outcome<string>>(row, step(context))
      return await this.#commit(action, row, outcome, { startedAt })
    } catch (error) {
      if (error instanceof LeaseLostError) throw error
      const failure = error instanceof Error ? error : new Error(String(error))
      log.warn({ err: failure, action: row.name, step: row.step, resourceId: row.resourceId }, 'a step failed')
      if (!isFinal(failure)) return this.#retryLater(row, failure, startedAt)
      if (row.failure === null) {
        return this.#commit(action, row, action.failed(context, failure), { startedAt, failure: failure.message })
      }
      const save: Save = async (tx) => action.abandoned?.(tx, row.resourceId, failure)
      return this.#commit(action, row, { done: true, save }, { startedAt, failure: failure.message })
    }
  }

  /** A host call that never ends must not outlive the action's deadline. */
  #withinDeadline<T>(row: Row<'actions'>, work: Promise<T>): Promise<T> {
    const { clock } = this.#options
    return new Promise((resolve, reject) => {
      const cancel = clock.after(Math.max(row.deadlineAt - clock.now(), 0) + 1, () =>
        reject(new DeadlineError(row.name, row.step)),
      )
      work.then(resolve, reject).finally(cancel)
    })
  }

  async #retryLater(row: Leased, error: Error, startedAt: number): Promise<undefined> {
    const { db, clock } = this.#options
    const pause = Math.min(FIRST_PAUSE_MS * 2 ** row.attempts, LONGEST_PAUSE_MS)
    await db.transaction(async (tx) => {
      await updateLeased(tx, row, {
        attempts: row.attempts + 1,
        // Never past the deadline, so that it is noticed on time.
        dueAt: Math.min(clock.now() + pause, Math.max(row.deadlineAt + 1, clock.now() + 1)),
        leaseToken: null,
        leaseUntil: 0,
      })
      await this.#record(tx, row, startedAt, error.message)
    })
    return undefined
  }

  /** Writes what the step wants saved and where the action goes, in one transaction guarded by the lease. */
  async #commit(
    action: AnyAction,
    row: Leased,
    outcome: Outcome<string>,
    step: { startedAt: number; failure?: string },
  ): Promise<Leased | undefined> {
    const { db, clock } = this.#options
    const now = clock.now()
    const failure = step.failure ?? row.failure
    const isFirstFailure = step.failure !== undefined && row.failure === null
    const failing = isFirstFailure ? { failure, deadlineAt: now + action.deadlineMs } : {}
    const released = { leaseToken: null, leaseUntil: 0 }
    const result = failure === null ? 'Success' : 'Error'
    const entered = { stepEnteredAt: now, attempts: 0, dueAt: now, leaseUntil: now + LEASE_MS }
    const change: Partial<Row<'actions'>> =
      'go' in outcome
        ? { ...failing, step: outcome.go, ...entered }
        : 'waitMs' in outcome
          ? { ...failing, dueAt: now + outcome.waitMs, attempts: 0, ...released }
          : { ...failing, isOpen: 0, result, finishedAt: now, sealedSecret: null, ...released }
    await db.transaction(async (tx) => {
      await updateLeased(tx, row, change)
      await outcome.save?.(tx)
      if ('go' in outcome) await action.entering?.(tx, row.resourceId, outcome.go, JSON.parse(row.input))
      // Waiting is not an event: a step that polls for an hour would fill the journal.
      if (!('waitMs' in outcome)) await this.#record(tx, row, step.startedAt, step.failure ?? null)
    })
    return 'go' in outcome ? { ...row, ...change, leaseToken: row.leaseToken } : undefined
  }

  async #record(tx: Tx, row: Row<'actions'>, startedAt: number, failure: string | null): Promise<void> {
    const finishedAt = this.#options.clock.now()
    const result = failure === null ? 'Success' : 'Error'
    await tx
      .insertInto('actionEvents')
      .values({ actionId: row.id, step: row.step, startedAt, finishedAt, result, message: failure })
      .execute()
    tx.onCommit(() => this.#options.onStep?.(row.name, row.step, result, finishedAt - row.stepEnteredAt))
  }

  /** Lets running steps end, and starts no more; what is not done goes on in the next process. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopping = true
    this.#cancelWakeUp?.()
    this.#cancelHeartbeat?.()
    // A host call that hangs must not hold up the end: its action is open, and the next process goes on with it.
    const patience = Promise.withResolvers<void>()
    const timer = setTimeout(patience.resolve, STOP_PATIENCE_MS)
    await Promise.race([this.settled(), patience.promise])
    clearTimeout(timer)
  }
}
