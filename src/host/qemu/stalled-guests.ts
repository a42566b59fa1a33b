import type { Logger } from 'pino'
import type { Guest } from './guest.ts'
import { readSpace } from './host-facts.ts'
import { readObjects } from './qmp-client.ts'

/** What QEMU calls a machine that it stopped because a disk refused a request. Source: QAPI RunState. */
export const STOPPED_BY_DISK = 'io-error'
/** What has to be free before guests run on: with less the next write would stop them again. */
const SPACE_TO_RUN_ON_BYTES = 64 * 1024 * 1024

/**
 * Guests that QEMU stopped as their host's disk was full. QEMU keeps the write that failed, so that the guest notices
 * nothing but lost time once it runs on; but it does not run on by itself.
 *
 *   note ─► stalled ─ look: there is space again ─► runs on
 *              └─ look: runs, is gone, or stopped for another reason ─► (forgotten)
 */
export class StalledGuests {
  readonly #stalled = new Map<string, Guest>()
  readonly #directory: string
  readonly #log: Logger
  #isLooking = false

  /** @param directory on the file system that holds the disks. */
  constructor(directory: string, log: Logger) {
    this.#directory = directory
    this.#log = log
  }

  /** The guest may have been stopped by a full disk. */
  note(serverId: string, guest: Guest): void {
    if (this.#stalled.get(serverId) === guest) return
    this.#stalled.set(serverId, guest)
    this.#log.warn({ serverId }, 'a disk refused a request of a guest, which stands still')
  }

  /** Looks after all of them, unless that is going on already; never fails. */
  look(): void {
    if (this.#isLooking || this.#stalled.size === 0) return
    this.#isLooking = true
    this.#lookAfterAll()
      .catch((error: unknown) => this.#log.warn({ err: error }, 'guests that stand still could not be looked after'))
      .finally(() => {
        this.#isLooking = false
      })
  }

  async #lookAfterAll(): Promise<void> {
    for (const [serverId, guest] of [...this.#stalled]) {
      if (!(await waitsForSpace(guest))) {
        this.#stalled.delete(serverId)
        continue
      }
      const { freeBytes } = await readSpace(this.#directory)
      if (freeBytes < SPACE_TO_RUN_ON_BYTES) return
      if (!(await guest.letRun())) continue
      this.#stalled.delete(serverId)
      this.#log.info({ serverId }, 'there is space again: the guest runs on')
    }
  }
}

/** Whether the guest stands still for want of space. Source: QAPI BlockDeviceIoStatus. */
async function waitsForSpace(guest: Guest): Promise<boolean> {
  if ((await guest.readStatus()) !== STOPPED_BY_DISK) return false
  const devices = readObjects(await guest.execute('query-block').catch(() => []))
  return devices.some((device) => device['io-status'] === 'nospace')
}
