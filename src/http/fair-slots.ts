import { ApiError } from './api-error.ts'

export interface FairSlotsOptions {
  /** What there is too much of, for the message: `logins`. */
  what: string
  /** How many run at once. */
  slots: number
  /** How many of one key may wait. */
  waitingPerKey: number
  /** How many may wait in all. */
  waiting: number
}

/**
 * Runs costly work a few at a time. Each key has a line of its own, and the lines take turns, so that a crowd under
 * one key delays the others by one piece of work and not by the whole crowd.
 */
export class FairSlots {
  readonly #options: FairSlotsOptions
  /** Lines that are not empty, the next to be served first. */
  readonly #lines = new Map<string, (() => void)[]>()
  #running = 0
  #waiting = 0

  constructor(options: FairSlotsOptions) {
    this.#options = options
  }

  /**
   * Runs `work` when its turn has come.
   * @throws ApiError rateLimited when too many of this key wait, serviceUnavailable when too many wait at all.
   */
  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    if (this.#running < this.#options.slots) this.#running++
    else await this.#turn(key)
    try {
      return await work()
    } finally {
      this.#release()
    }
  }

  #turn(key: string): Promise<void> {
    const line = this.#lines.get(key) ?? []
    if (line.length >= this.#options.waitingPerKey) throw this.#crowded('rateLimited')
    if (this.#waiting >= this.#options.waiting) throw this.#crowded('serviceUnavailable')
    this.#waiting++
    this.#lines.set(key, line)
    return new Promise((resolve) => line.push(resolve))
  }

  /** Hands the slot to whoever is next, or gives it back. */
  #release(): void {
    const [next] = this.#lines
    if (!next) {
      this.#running--
      return
    }
    const [key, line] = next
    this.#lines.delete(key)
    const go = line.shift()
    if (line.length > 0) this.#lines.set(key, line)
    this.#waiting--
    go?.()
  }

  #crowded(fault: 'rateLimited' | 'serviceUnavailable'): ApiError {
    const message = `Too many ${this.#options.what} at once. Try again in a second.`
    return new ApiError(fault, message, { headers: { 'retry-after': '1' } })
  }
}
