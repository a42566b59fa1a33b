import { existsSync, readdirSync, truncateSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Clock } from '../../lib/clock.ts'
import { isUuidLike } from '../../lib/ids.ts'
import type { Power } from '../host-driver.ts'
import { BOOT_CAP_MS, BootQueue } from './boot-queue.ts'
import { type CgroupTree, type Limits, limitProcess, removeCgroups, removeEmptyCgroups } from './cgroup.ts'
import { boundConsole, sizeOf } from './console-log.ts'
import { hasConsoleWriter, replaceConsoleWriter } from './console-writer.ts'
import { hasAgent, thawLeftover } from './frozen-guest.ts'
import { Guest, hostStops } from './guest.ts'
import { removeCopies } from './guest-copy.ts'
import { AGENT_PORT } from './qemu-args.ts'
import type { QmpEvent } from './qmp-client.ts'
import { findPid, howItEnded, type RunRecord, readRecord, removeRecord } from './run-record.ts'
import { type ServerFiles, serverFiles } from './server-files.ts'
import { closeSockets } from './sockets-directory.ts'
import { STOPPED_BY_DISK, StalledGuests } from './stalled-guests.ts'
import { Standstills } from './standstills.ts'

const SWEEP_EVERY_MS = 1_000
/** A log of QEMU's own that a guest made grow past this is emptied. */
const QEMU_LOG_BYTES = 1024 * 1024
/** How long the kernel may take to let go of the control group of processes that are gone. */
const CGROUP_GRACE_MS = 2_000

/** Events after which a server's power may be another one. */
const POWER_EVENTS = ['STOP', 'RESUME', 'GUEST_PANICKED', 'SUSPEND', 'WAKEUP']

/** What QEMU calls a machine that was started with -S and has not been let run. Source: QAPI RunState. */
const NOT_RUN_YET = 'prelaunch'

/** What QEMU calls a machine that stands still though it was not shut down. Source: QAPI RunState. */
const STANDING_STILL = ['paused', 'debug', STOPPED_BY_DISK, 'internal-error', 'guest-panicked', 'watchdog', 'save-vm']

const isStandingStill = (status: string | undefined): boolean => status !== undefined && STANDING_STILL.includes(status)

export interface GuestsOptions {
  /** The directory with one directory a server. */
  serversDir: string
  cgroups: CgroupTree
  concurrentBoots: number
  clock: Clock
  log: Logger
  /** Something may have changed by itself. */
  nudge: () => void
  /** A guest runs on that stood still for so long that its clock is wrong. */
  ranOn: (serverId: string) => void
}

/** The guests of this host that run, found by what stands on disk and in the process table; and who may boot. */
export class Guests {
  readonly queue: BootQueue
  readonly #options: GuestsOptions
  readonly #running = new Map<string, Guest>()
  readonly #lingeringCgroups = new Set<string>()
  /** Servers whose logs could not be bounded at the last sweep: said once, not every second. */
  readonly #unbounded = new Set<string>()
  /** Servers whose monitor did not answer when it was last asked. */
  readonly #silent = new Set<string>()
  readonly #stalled: StalledGuests
  readonly #standstills = new Standstills()
  #cancelSweep: () => void
  #isReleased = false

  constructor(options: GuestsOptions) {
    this.#options = options
    this.#stalled = new StalledGuests(options.serversDir, options.log)
    this.queue = new BootQueue(options.concurrentBoots, options.clock, options.nudge)
    this.#cancelSweep = options.clock.after(SWEEP_EVERY_MS, () => this.#sweep())
  }

  /** @throws Error for an id that is no UUID: it becomes a file name and an argument. */
  files(serverId: string): ServerFiles {
    if (!isUuidLike(serverId)) throw new Error(`${serverId} is no server id`)
    return serverFiles(this.#options.serversDir, serverId)
  }

  /** Every server that has a directory, in no order. */
  listIds(): string[] {
    return readdirSync(this.#options.serversDir).filter(isUuidLike)
  }

  /** Takes up every guest that runs, and clears what those left that ended while nobody looked; bounds all logs. */
  findAll(): void {
    for (const serverId of this.listIds()) {
      this.find(serverId)
      this.#boundLogs(serverId)
    }
    removeEmptyCgroups(this.#options.cgroups)
  }

  /**
   * The server's guest, when it runs.
   * @throws HostError `unreachable` once all guests were let go.
   */
  find(serverId: string): Guest | undefined {
    this.demandHeld()
    const known = this.#running.get(serverId)
    if (known) return known
    const files = this.files(serverId)
    const record = readRecord(files)
    const pid = record && findPid(files, record)
    if (!record || pid === undefined) return undefined
    // Whoever started it may have been killed before it could.
    if (record.limits) this.limit(serverId, record.limits, pid)
    const guest = this.adopt(serverId, record)
    const ageMs = this.#options.clock.now() - record.startedAt
    if (ageMs < BOOT_CAP_MS) this.queue.start(serverId, BOOT_CAP_MS - ageMs)
    this.#takeUp(serverId, guest).catch((error: unknown) => {
      if (!this.#isReleased) this.#options.log.warn({ err: error, serverId }, 'a guest was found that does not answer')
    })
    return guest
  }

  /** Puts a guest's process under limits, and goes on without them where the kernel refuses. */
  limit(serverId: string, limits: Limits, pid: number): void {
    try {
      limitProcess(this.#options.cgroups, serverId, limits, pid)
    } catch (error) {
      this.#options.log.warn({ err: error, serverId }, 'the guest runs without limits')
    }
  }

  /** Takes up a guest that was just started. */
  adopt(serverId: string, record: RunRecord): Guest {
    const guest = new Guest(this.files(serverId), record, {
      onEvent: (event) => this.#onEvent(serverId, guest, event),
      onGone: () => {
        if (this.#running.get(serverId) === guest) this.#onGone(serverId)
      },
    })
    this.#running.set(serverId, guest)
    return guest
  }

  async readPower(serverId: string): Promise<Power> {
    const files = this.files(serverId)
    if (!existsSync(files.directory)) return 'absent'
    const guest = this.find(serverId)
    const status = await guest?.readStatus()
    if (guest) this.#watchAnswers(serverId, guest, status)
    if (guest?.pid !== undefined) return isStandingStill(status) ? 'paused' : 'on'
    return readRecord(files) ? howItEnded(files) : 'off'
  }

  /** Ends the server's guest, if one runs, and forgets that it ever did. False when it cannot be ended. */
  async end(serverId: string): Promise<boolean> {
    this.queue.leave(serverId)
    const guest = this.find(serverId)
    const files = this.files(serverId)
    if (guest && !(await guest.end())) return false
    removeRecord(files)
    const deadline = performance.now() + CGROUP_GRACE_MS
    const isEnding = () => !this.#dropCgroups(serverId) || hasConsoleWriter(files) === true
    while (isEnding() && performance.now() < deadline) await pause(10)
    return true
  }

  /** @throws HostError `unreachable` once all guests were let go: a verb under way must start and end none any more. */
  demandHeld(): void {
    if (this.#isReleased) throw hostStops()
  }

  /** Lets go of all guests; they go on running. */
  async release(): Promise<void> {
    this.#isReleased = true
    this.#cancelSweep()
    this.queue.clear()
    await Promise.all([...this.#running.values()].map((guest) => guest.release()))
    this.#running.clear()
  }

  /** A monitor that hangs counts as a guest that runs; whoever looks after the host has to know. */
  #watchAnswers(serverId: string, guest: Guest, status: string | undefined): void {
    if (status === STOPPED_BY_DISK) this.#stalled.note(serverId, guest)
    if (status !== undefined) this.#silent.delete(serverId)
    else if (!this.#silent.has(serverId) && !this.#isReleased && guest.pid !== undefined) {
      this.#silent.add(serverId)
      this.#options.log.warn({ serverId, pid: guest.pid }, "a guest's monitor does not answer")
    }
  }

  #onEvent(serverId: string, guest: Guest, { event, data }: QmpEvent): void {
    if (event === 'BLOCK_IO_ERROR' && data.action === 'stop') this.#stalled.note(serverId, guest)
    if (event === 'VSERPORT_CHANGE' && data.id === AGENT_PORT && data.open === true) this.queue.leave(serverId)
    if (event === 'STOP') this.#standstills.begin(serverId, this.#options.clock.now())
    if (event === 'RESUME' && this.#standstills.end(serverId, this.#options.clock.now())) {
      this.#options.ranOn(serverId)
    }
    if (POWER_EVENTS.includes(event)) this.#options.nudge()
  }

  #onGone(serverId: string): void {
    this.#running.delete(serverId)
    this.#unbounded.delete(serverId)
    this.#silent.delete(serverId)
    this.#standstills.end(serverId, 0)
    this.queue.leave(serverId)
    this.#dropCgroups(serverId)
    this.#options.nudge()
  }

  /** What the process that started this guest may not have come to, and what happened since. */
  async #takeUp(serverId: string, guest: Guest): Promise<void> {
    if (!(await guest.untilReady())) return
    closeSockets(this.files(serverId))
    const status = await guest.readStatus()
    this.#watchAnswers(serverId, guest, status)
    if (status === NOT_RUN_YET) await guest.letRun()
    // Since when, nobody saw.
    if (isStandingStill(status)) this.#standstills.begin(serverId, guest.record.startedAt)
    thawLeftover(this.files(serverId)).catch((error: unknown) =>
      this.#options.log.warn({ err: error, serverId }, 'a guest that was frozen could not be thawed'),
    )
    await removeCopies(guest)
    if (await hasAgent(guest)) this.queue.leave(serverId)
  }

  /** False while the kernel still holds them; the sweep then tries again. */
  #dropCgroups(serverId: string): boolean {
    const areGone = removeCgroups(this.#options.cgroups, serverId)
    if (areGone) this.#lingeringCgroups.delete(serverId)
    else this.#lingeringCgroups.add(serverId)
    return areGone
  }

  #sweep(): void {
    try {
      for (const [serverId, guest] of this.#running) {
        this.#boundLogs(serverId)
        this.#keepWriter(serverId, guest)
      }
      this.#stalled.look()
      for (const serverId of this.#lingeringCgroups) {
        if (this.#running.has(serverId)) this.#lingeringCgroups.delete(serverId)
        else this.#dropCgroups(serverId)
      }
    } finally {
      this.#cancelSweep = this.#options.clock.after(SWEEP_EVERY_MS, () => this.#sweep())
    }
  }

  #keepWriter(serverId: string, { record }: Guest): void {
    try {
      const pid = replaceConsoleWriter(this.files(serverId))
      if (pid === undefined) return
      this.#options.log.warn({ serverId }, 'what writes the console of a guest down had ended; it was started again')
      if (record.limits) this.limit(serverId, record.limits, pid)
    } catch (error) {
      this.#options.log.debug({ err: error, serverId }, 'the console of a guest is not written down')
    }
  }

  /** A full disk must not end this process, nor keep the logs of other servers from being bounded. */
  #boundLogs(serverId: string): void {
    try {
      boundLogs(this.files(serverId))
      this.#unbounded.delete(serverId)
    } catch (error) {
      if (!this.#unbounded.has(serverId)) this.#options.log.error({ err: error, serverId }, "a guest's logs were lost")
      this.#unbounded.add(serverId)
    }
  }
}

/** Keeps what a guest can make grow within bounds; QEMU appends to all of these. */
function boundLogs(files: ServerFiles): void {
  boundConsole(files)
  for (const log of [files.eventLog, files.qemuLog]) {
    if (sizeOf(log) > QEMU_LOG_BYTES && howItEnded(files) === 'crashed') truncateSync(log, 0)
  }
}
