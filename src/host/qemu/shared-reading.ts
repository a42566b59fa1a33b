/**
 * Readings that cost more than a look: whoever asks for one that is being read gets that one, so that many who ask at
 * once cost as much as one.
 */
export class SharedReading<T> {
  readonly #reading = new Map<string, Promise<T>>()

  read(key: string, work: () => Promise<T>): Promise<T> {
    const known = this.#reading.get(key)
    if (known) return known
    const mine = work().finally(() => this.#reading.delete(key))
    this.#reading.set(key, mine)
    return mine
  }
}
