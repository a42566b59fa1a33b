/** Turns at something that serves one at a time, a thing a key: in the order they were asked for. */
export class Turns {
  /** Who waits for each thing that somebody has. */
  readonly #waiting = new Map<string, (() => void)[]>()

  /**
   * Waits for a turn.
   * @returns what ends it; ending it again does nothing.
   * @throws the signal's reason when it aborts before; the turns of others are not touched.
   */
  async take(key: string, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted()
    const waiting = this.#waiting.get(key)
    if (!waiting) this.#waiting.set(key, [])
    else await this.#wait(waiting, signal)
    let isMine = true
    return () => {
      if (isMine) this.#pass(key)
      isMine = false
    }
  }

  #wait(waiting: (() => void)[], signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const begin = (): void => {
        signal.removeEventListener('abort', leave)
        resolve()
      }
      const leave = (): void => {
        waiting.splice(waiting.indexOf(begin), 1)
        reject(signal.reason)
      }
      waiting.push(begin)
      signal.addEventListener('abort', leave, { once: true })
    })
  }

  #pass(key: string): void {
    const next = this.#waiting.get(key)?.shift()
    if (next) next()
    else this.#waiting.delete(key)
  }
}
