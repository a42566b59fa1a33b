import { connect, type Socket } from 'node:net'

/** How much is handed over in one go, in bytes. */
const PIECE_BYTES = 128

interface Waiting {
  bytes: Buffer
  done: () => void
}

/**
 * Types into a guest by QEMU's socket for its serial port. Each piece comes by a connection of its own, that is closed
 * once QEMU has taken it: while somebody is connected QEMU sends the output there too, one byte a packet, the socket is
 * full after some 280 of them, and what it could not send it writes to the log twice.
 */
export class SerialInput {
  readonly #path: string
  #waiting: Waiting[] = []
  #socket: Socket | undefined
  #isClosed = false

  constructor(path: string) {
    this.#path = path
  }

  /** @param done called when the guest has taken it, or is gone. */
  write(bytes: Buffer, done: () => void): void {
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
      const isLast = at + PIECE_BYTES >= bytes.length
      this.#waiting.push({ bytes: bytes.subarray(at, at + PIECE_BYTES), done: isLast ? done : () => {} })
    }
    if (bytes.length === 0) done()
    this.#next()
  }

  close(): void {
    this.#isClosed = true
    this.#socket?.destroy()
    this.#next()
  }

  #next(): void {
    if (this.#isClosed) {
      const waiting = this.#waiting
      this.#waiting = []
      for (const { done } of waiting) done()
      return
    }
    if (this.#socket) return
    const piece = this.#waiting.shift()
    if (!piece) return
    const socket = connect(this.#path)
    this.#socket = socket
    // A guest that is gone takes nothing, and whoever looks at it sees that.
    socket.on('error', () => {})
    socket.once('close', () => {
      this.#socket = undefined
      piece.done()
      this.#next()
    })
    socket.resume()
    socket.end(piece.bytes)
  }
}
