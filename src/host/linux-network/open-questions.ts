/** How many metadata questions may be answered at the same time: of one guest, and of all guests of a network. */
const OPEN_PER_GUEST = 4
const OPEN_PER_NETWORK = 64

/**
 * The questions of one network that are being answered. Connections are bounded elsewhere, but that bounds no work: a
 * question goes on being answered after its connection was cut, and the guest may open the next one at once.
 */
export class OpenQuestions {
  readonly #perGuest = new Map<string, number>()
  #total = 0

  /** Takes a place, to be given back with `leave`; false when there is none for this guest or network. */
  enter(guest: string): boolean {
    const open = this.#perGuest.get(guest) ?? 0
    if (open >= OPEN_PER_GUEST || this.#total >= OPEN_PER_NETWORK) return false
    this.#perGuest.set(guest, open + 1)
    this.#total += 1
    return true
  }

  leave(guest: string): void {
    const left = (this.#perGuest.get(guest) ?? 1) - 1
    if (left > 0) this.#perGuest.set(guest, left)
    else this.#perGuest.delete(guest)
    this.#total -= 1
  }
}
