/** How often one guest may ask for metadata: so many at once after a pause, and so many a second for ever. */
const BURST = 200
const PER_SECOND = 20

interface Bucket {
  left: number
  /** Milliseconds. */
  at: number
}

/**
 * A bucket of questions for each guest of a network, filled up slowly. A boot with cloud-init asks about sixty; the burst
 * is for two of them and a walk through both trees.
 */
export class GuestRates {
  readonly #buckets = new Map<string, Bucket>()
  #sweptAt = 0

  /**
   * Takes a question out of the guest's bucket.
   * @param now of a clock that only goes on, in milliseconds.
   * @returns 0, or how many whole seconds it must wait.
   */
  take(guest: string, now: number): number {
    this.#sweep(now)
    const bucket = this.#buckets.get(guest) ?? { left: BURST, at: now }
    bucket.left = Math.min(BURST, bucket.left + ((now - bucket.at) / 1000) * PER_SECOND)
    bucket.at = now
    this.#buckets.set(guest, bucket)
    if (bucket.left < 1) return Math.ceil((1 - bucket.left) / PER_SECOND)
    bucket.left -= 1
    return 0
  }

  /** Forgets guests whose buckets have been full for a while: addresses come and go. */
  #sweep(now: number): void {
    const fullMs = (BURST / PER_SECOND) * 1000
    if (now - this.#sweptAt < fullMs) return
    this.#sweptAt = now
    for (const [guest, { at }] of this.#buckets) if (now - at >= fullMs) this.#buckets.delete(guest)
  }
}
