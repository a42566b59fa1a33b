import type { Clock } from '../../lib/clock.ts'

/** A guest that says nothing counts as booted after this long. */
export const BOOT_CAP_MS = 25_000
/** A place in the queue is lost when it is not asked for again within this time. */
export const PLACE_MS = 30_000

/**
 * Lets only so many guests boot at once: eight at once on two cores take 45 s each, two at a time 6 s each.
 *
 *   ask ─► queued ─ ask again, at the head of the queue ─► booting ─ finish, or BOOT_CAP_MS ─► (left)
 *            └─ leave, or not asked again for PLACE_MS ─► (left)
 *
 * First asked, first served. It holds nothing a restart must remember: whoever still wants to boot asks again.
 */
export class BootQueue {
  readonly #limit: number
  readonly #clock: Clock
  readonly #onTurn: () => void
  /** Booting servers, with what cancels their cap. */
  readonly #booting = new Map<string, () => void>()
  /** Waiting servers in the order of their first asking, with the instant their place is lost. */
  readonly #waiting = new Map<string, number>()
  #cancelExpiry: (() => void) | undefined

  /** @param onTurn called when somebody who waits could be let in. */
  constructor(limit: number, clock: Clock, onTurn: () => void) {
    this.#limit = Math.max(1, limit)
    this.#clock = clock
    this.#onTurn = onTurn
  }

  /** True when the server may boot now (it then counts as booting); false when it is queued. */
  ask(serverId: string): boolean {
    if (this.#booting.has(serverId)) return true
    this.#dropExpired()
    this.#waiting.set(serverId, this.#clock.now() + PLACE_MS)
    const place = [...this.#waiting.keys()].indexOf(serverId)
    const isTurn = place < this.#limit - this.#booting.size
    if (isTurn) {
      this.#waiting.delete(serverId)
      this.start(serverId, BOOT_CAP_MS)
    }
    this.#watchExpiry()
    return isTurn
  }

  /** Counts a server that boots already, whatever the limit; for guests found again after a restart. */
  start(serverId: string, remainingMs: number = BOOT_CAP_MS): void {
    this.#booting.get(serverId)?.()
    const cancel = this.#clock.after(Math.min(remainingMs, BOOT_CAP_MS), () => this.leave(serverId))
    this.#booting.set(serverId, cancel)
  }

  /** The server has booted, failed to, stopped, or does not want to any more. */
  leave(serverId: string): void {
    const cancel = this.#booting.get(serverId)
    cancel?.()
    this.#booting.delete(serverId)
    const hadPlace = this.#waiting.delete(serverId)
    if (cancel || hadPlace) this.#announce()
  }

  /** Forgets everybody and fires nothing more. */
  clear(): void {
    for (const cancel of this.#booting.values()) cancel()
    this.#booting.clear()
    this.#waiting.clear()
    this.#cancelExpiry?.()
  }

  #announce(): void {
    this.#watchExpiry()
    if (this.#waiting.size > 0 && this.#booting.size < this.#limit) this.#onTurn()
  }

  #dropExpired(): boolean {
    const now = this.#clock.now()
    const expired = [...this.#waiting].filter(([, until]) => until <= now)
    for (const [serverId] of expired) this.#waiting.delete(serverId)
    return expired.length > 0
  }

  /** Somebody who lost the place at the head must not keep those behind waiting. */
  #watchExpiry(): void {
    this.#cancelExpiry?.()
    this.#cancelExpiry = undefined
    if (this.#waiting.size === 0) return
    const next = Math.min(...this.#waiting.values())
    this.#cancelExpiry = this.#clock.after(Math.max(0, next - this.#clock.now()), () => {
      if (this.#dropExpired()) this.#announce()
      else this.#watchExpiry()
    })
  }
}
