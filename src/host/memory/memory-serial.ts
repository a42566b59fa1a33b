import { Duplex } from 'node:stream'

/** What waits for one slow viewer at most, in bytes. */
const WAITING_BYTES = 1024 * 1024

/**
 * The serial consoles of memory guests: terminals that echo. All viewers of a server see what any of them types; Enter
 * begins a new line, Backspace takes a letter away.
 */
export class MemorySerials {
  readonly #viewers = new Map<string, Set<Duplex>>()

  /** @param backlog what was said before. */
  open(serverId: string, backlog: string): Duplex {
    const viewers = this.#viewers.get(serverId) ?? new Set()
    const viewer = new Duplex({
      allowHalfOpen: false,
      read() {},
      write(chunk: Buffer, _encoding, done) {
        const echo = chunk.toString('latin1').replaceAll('\r', '\r\n').replaceAll('\x7f', '\b \b')
        for (const one of viewers) if (one.readableLength < WAITING_BYTES) one.push(Buffer.from(echo, 'latin1'))
        done()
      },
    })
    this.#viewers.set(serverId, viewers.add(viewer))
    viewer.once('close', () => viewers.delete(viewer))
    viewer.push(backlog)
    return viewer
  }

  /** The guest ends, and with it what its viewers see. */
  end(serverId: string): void {
    for (const viewer of this.#viewers.get(serverId) ?? []) viewer.push(null)
    this.#viewers.delete(serverId)
  }
}
