/**
 * Slows down who guesses passwords, without locking anybody out.
 *
 *   a user at one address   5 failures are free, then pauses of 1, 2, 4 … 60 s; a success forgets them
 *   one address             50 failures are free, under whatever names, then the same pauses; successes change nothing
 *
 * During a pause nothing is looked at: the right password is refused too, or the answer would tell that it is right.
 * Failures are counted per address, because a count per user alone would let anyone lock out the user: the real one,
 * elsewhere, notices nothing. Whoever got in from an address before is not held up by what others do there.
 * All of this is forgotten a quarter of an hour after the last failure, and when the process ends.
 */
const FREE_FOR_USER = 5
const FREE_FOR_ADDRESS = 50
const PAUSE_MAX_MS = 60_000
const FORGOTTEN_MS = 15 * 60_000
/** How many users and addresses are kept in mind; the ones not seen longest are forgotten first. */
const KEPT = 10_000

/** Who tries: `user` is any text that names one user, `address` one caller. */
export interface Attempt {
  user: string
  address: string
}

interface Count {
  failures: number
  lastFailureAt: number
  hasSucceeded: boolean
}

/** The pause after so many failures, of which some are free; milliseconds. */
export const pauseMs = (failures: number, free: number): number =>
  failures < free ? 0 : Math.min(1000 * 2 ** (failures - free), PAUSE_MAX_MS)

export class LoginThrottle {
  readonly #pairs = new Map<string, Count>()
  readonly #addresses = new Map<string, Count>()

  /** How long this attempt has to wait yet; 0 when it may go on. Milliseconds. */
  waitMs(attempt: Attempt, now: number): number {
    const pair = this.#pairs.get(pairKey(attempt))
    const own = remaining(pair, FREE_FOR_USER, now)
    const shared = pair?.hasSucceeded ? 0 : remaining(this.#addresses.get(attempt.address), FREE_FOR_ADDRESS, now)
    return Math.max(own, shared)
  }

  failed(attempt: Attempt, now: number): void {
    count(this.#pairs, pairKey(attempt), now)
    count(this.#addresses, attempt.address, now)
  }

  succeeded(attempt: Attempt): void {
    keep(this.#pairs, pairKey(attempt), { failures: 0, lastFailureAt: 0, hasSucceeded: true })
  }
}

/** The part of an address that one caller has: an IPv4 address, or the /64 that an IPv6 line is given. */
export function callerOf(address: string): string {
  const v4 = /^(?:::ffff:)?(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1]
  if (v4 !== undefined) return v4
  if (!address.includes(':')) return address
  const [head = '', tail] = address.toLowerCase().split('%', 1).join('').split('::', 2)
  const front = head === '' ? [] : head.split(':')
  const back = tail === undefined || tail === '' ? [] : tail.split(':')
  const groups =
    tail === undefined ? front : [...front, ...Array(Math.max(0, 8 - front.length - back.length)).fill('0'), ...back]
  return `${groups
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ''))
    .join(':')}::/64`
}

const pairKey = ({ user, address }: Attempt): string => `${address} ${user}`

function remaining(found: Count | undefined, free: number, now: number): number {
  if (!found || now - found.lastFailureAt >= FORGOTTEN_MS) return 0
  return Math.max(0, found.lastFailureAt + pauseMs(found.failures, free) - now)
}

function count(counts: Map<string, Count>, key: string, now: number): void {
  const found = counts.get(key)
  const isRecent = found !== undefined && now - found.lastFailureAt < FORGOTTEN_MS
  keep(counts, key, {
    failures: (isRecent ? found.failures : 0) + 1,
    lastFailureAt: now,
    hasSucceeded: found?.hasSucceeded ?? false,
  })
}

function keep(counts: Map<string, Count>, key: string, value: Count): void {
  counts.delete(key)
  counts.set(key, value)
  if (counts.size <= KEPT) return
  for (const oldest of counts.keys()) {
    counts.delete(oldest)
    return
  }
}
