/** What a guest's clock may be behind without anybody noticing, in milliseconds. */
const NOTICED_MS = 1_000

/** How long guests stood still, each from when its machine stopped until it ran on. */
export class Standstills {
  readonly #since = new Map<string, number>()

  /** It stands still from `at` on, unless it did before; epoch milliseconds. */
  begin(serverId: string, at: number): void {
    if (!this.#since.has(serverId)) this.#since.set(serverId, at)
  }

  /** @returns whether it stood still for so long that its clock is wrong. */
  end(serverId: string, at: number): boolean {
    const since = this.#since.get(serverId)
    this.#since.delete(serverId)
    return since !== undefined && at - since >= NOTICED_MS
  }
}
