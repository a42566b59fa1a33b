import { setTimeout as pause } from 'node:timers/promises'
import { HostError } from '../host-driver.ts'
import { QmpClient, type QmpEvent } from './qmp-client.ts'
import { findPid, type RunRecord } from './run-record.ts'
import type { ServerFiles } from './server-files.ts'
import { closeSockets } from './sockets-directory.ts'

/** How often a guest without a monitor connection is looked at, in milliseconds. */
const LOOK_EVERY_MS = 100
/** How long a QEMU may take to end by itself before it is killed: it writes its disks out. */
const QUIT_GRACE_MS = 10_000
const KILL_GRACE_MS = 10_000
/** How long a start may take until the monitor answers. */
const READY_LIMIT_MS = 30_000
const STATUS_TIMEOUT_MS = 2_000

/** What a verb fails with that an orderly stop of this process cuts short: the next one asks again. */
export const hostStops = (): HostError =>
  new HostError('unreachable', 'The host is being restarted.', { cause: new Error('the driver was disposed') })

export interface GuestEvents {
  onEvent(event: QmpEvent): void
  /** The process is gone. Called once. */
  onGone(): void
}

/**
 * One running QEMU as this process sees it: its process, and a connection to its monitor that is made again whenever
 * it breaks. That a guest is gone shows at once, as its monitor closes; without a connection, within LOOK_EVERY_MS.
 *
 *   (no monitor) ─► connected ─► (no monitor) ─► … ─► gone
 *
 * Letting go of it (`release`) leaves QEMU running.
 */
export class Guest {
  readonly record: RunRecord
  readonly #files: ServerFiles
  readonly #events: GuestEvents
  #client: QmpClient | undefined
  readonly #release = new AbortController()
  #isGone = false
  readonly #watch: Promise<void>

  constructor(files: ServerFiles, record: RunRecord, events: GuestEvents) {
    this.#files = files
    this.record = record
    this.#events = events
    // Not before the caller has it: it may report at once that the process is gone.
    this.#watch = Promise.resolve().then(() => this.#keepConnected())
  }

  get pid(): number | undefined {
    return findPid(this.#files, this.record)
  }

  /**
   * One monitor command.
   * @throws QmpError when QEMU refuses; Error when the monitor is not connected, closes or does not answer in time.
   */
  async execute(command: string, args: object = {}, timeoutMs?: number): Promise<unknown> {
    if (!this.#client) throw new Error('the monitor is not connected')
    return await this.#client.execute(command, args, timeoutMs)
  }

  /** What QEMU says of its machine (`running`, `paused`, `shutdown`, …); undefined when it does not answer. */
  async readStatus(): Promise<string | undefined> {
    await this.#until(() => this.#client !== undefined, STATUS_TIMEOUT_MS)
    try {
      const answer = (await this.execute('query-status', {}, STATUS_TIMEOUT_MS)) as { status?: unknown } | null
      return typeof answer?.status === 'string' ? answer.status : undefined
    } catch {
      return undefined
    }
  }

  /**
   * True once the monitor answers; false when QEMU ended before, or is not there in time.
   * @throws HostError `unreachable` when the guest was let go meanwhile: then nobody knows.
   */
  async untilReady(): Promise<boolean> {
    const isReady = await this.#until(() => this.#client !== undefined, READY_LIMIT_MS)
    this.#demandHeld()
    return isReady
  }

  /**
   * Lets the guest run: one that was just started, or that is paused. False when the monitor did not agree.
   * The sockets are out of QEMU's reach before the guest's first instruction.
   */
  async letRun(): Promise<boolean> {
    closeSockets(this.#files)
    return await this.execute('cont').then(
      () => true,
      () => {
        this.#demandHeld()
        return false
      },
    )
  }

  /**
   * Ends QEMU: by its monitor, else by signal, in the end by force. True when it is gone.
   * @throws HostError `unreachable` when the guest was let go meanwhile; it is not touched from then on.
   */
  async end(): Promise<boolean> {
    await this.execute('quit').catch(() => {
      this.#demandHeld()
      this.#signal('SIGTERM')
    })
    if (await this.#untilGone(QUIT_GRACE_MS)) return true
    this.#signal('SIGKILL')
    return await this.#untilGone(KILL_GRACE_MS)
  }

  /** Waits for a QEMU that ends by itself; false when it has not after `limitMs`. */
  async #untilGone(limitMs: number): Promise<boolean> {
    await this.#until(() => false, limitMs)
    this.#demandHeld()
    return this.#isGone
  }

  /** Waits that are cut short by an orderly stop must not be taken for a QEMU that does not answer or does not end. */
  #demandHeld(): void {
    if (this.#release.signal.aborted) throw hostStops()
  }

  /**
   * Waits for the end of a guest that has shut down already; ends it when that takes too long.
   * @throws HostError `unreachable`, as `end`.
   */
  async settleShutdown(): Promise<boolean> {
    return (await this.#untilGone(QUIT_GRACE_MS)) || (await this.end())
  }

  /** Lets go: closes the monitor, leaves QEMU running, reports nothing more. */
  async release(): Promise<void> {
    this.#release.abort()
    this.#client?.close()
    await this.#watch
  }

  #signal(signal: NodeJS.Signals): void {
    const pid = this.pid
    if (pid === undefined) return
    try {
      process.kill(pid, signal)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
  }

  /** True when `holds` comes true while QEMU runs. */
  async #until(holds: () => boolean, limitMs: number): Promise<boolean> {
    const deadline = performance.now() + limitMs
    while (!this.#isGone && !this.#release.signal.aborted && performance.now() < deadline) {
      if (holds()) return true
      if (this.pid === undefined) this.#reportGone()
      else await pause(10)
    }
    return false
  }

  async #keepConnected(): Promise<void> {
    const { signal } = this.#release
    while (!signal.aborted && this.#mayRun()) {
      try {
        this.#client = await QmpClient.connect(this.#files.qmp, (event) => this.#events.onEvent(event), signal)
        await this.#client.closed
      } catch {
        // Not listening yet, or not any more: looked at again below.
      }
      this.#client = undefined
      await pause(LOOK_EVERY_MS, undefined, { ref: false, signal }).catch(() => {})
    }
    this.#reportGone()
  }

  /** Whether the process is there, as far as can be told: a process short of descriptors cannot tell. */
  #mayRun(): boolean {
    try {
      return this.pid !== undefined
    } catch {
      return true
    }
  }

  #reportGone(): void {
    if (this.#isGone || this.#release.signal.aborted) return
    this.#isGone = true
    this.#events.onGone()
  }
}
