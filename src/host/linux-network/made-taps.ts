import { tapName } from './names.ts'

/** Which taps were made lately: one that was made for a port of old is a new one in place of one that had gone. */
export class MadeTaps {
  readonly #names = new Set<string>()

  /** Takes in `ip` commands that were run. */
  note(commands: readonly string[]): void {
    for (const command of commands) {
      const tap = /^tuntap add dev (\S+)/.exec(command)?.[1]
      if (tap !== undefined) this.#names.add(tap)
    }
  }

  /** Those of `ports` whose tap was made since the last call, and forgets all. */
  takeOf<Port extends { portId: string }>(ports: Iterable<Port>): Port[] {
    const made = [...ports].filter(({ portId }) => this.#names.has(tapName(portId)))
    this.#names.clear()
    return made
  }
}
