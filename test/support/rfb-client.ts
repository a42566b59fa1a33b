/** A small RFB client on a WebSocket, written from RFC 6143 apart from noVNC, so that the two check each other. */
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import type { Readable } from 'node:stream'
import { WebSocket } from 'ws'

/** The WebSocket was answered with plain HTTP instead. */
export class HandshakeRefused extends Error {
  override readonly name = 'HandshakeRefused'
  readonly status: number
  readonly text: string

  constructor(status: number, text: string) {
    super(`${status}: ${text}`)
    this.status = status
    this.text = text
  }
}

/** All that a stream has, up to its end. */
export async function readAll(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}

export class RfbClient implements AsyncDisposable {
  readonly socket: WebSocket
  /** How the other side ended it. */
  readonly closed: Promise<{ code: number; reason: string }>
  /** Pings that came in. */
  pings = 0
  /** Bytes that came in, read or not. */
  received = 0
  #chunks: Buffer[] = []
  #length = 0
  #arrived = () => {}

  private constructor(socket: WebSocket) {
    this.socket = socket
    this.closed = once(socket, 'close').then(([code, reason]) => ({ code, reason: String(reason) }))
    socket.on('ping', () => {
      this.pings += 1
    })
    socket.on('message', (data: Buffer) => {
      this.received += data.length
      this.#chunks.push(data)
      this.#length += data.length
      this.#arrived()
    })
  }

  /**
   * Resolves once the WebSocket is open.
   * @throws HandshakeRefused
   */
  static async open(
    url: string,
    options: { protocols?: string[]; headers?: Record<string, string>; autoPong?: boolean } = {},
  ) {
    const { protocols = [], ...rest } = options
    const socket = new WebSocket(url, protocols, rest)
    const client = new RfbClient(socket)
    await new Promise<void>((resolve, reject) => {
      socket.once('open', resolve)
      socket.once('error', reject)
      socket.once('unexpected-response', async (_request: unknown, response: IncomingMessage) => {
        reject(new HandshakeRefused(response.statusCode ?? 0, String(await readAll(response))))
      })
    })
    return client
  }

  /** Version, security (none), and the two inits: RFC 6143, section 7.1 to 7.3. */
  async handshake(): Promise<{ width: number; height: number; name: string }> {
    const version = await this.read(12)
    if (String(version) !== 'RFB 003.008\n') throw new Error(`The server speaks ${version}`)
    this.socket.send(version)
    const types = await this.read((await this.read(1))[0] ?? 0)
    if (!types.includes(1)) throw new Error('The server does not let us in without a password.')
    this.socket.send(Buffer.from([1]))
    if ((await this.read(4)).readUInt32BE() !== 0) throw new Error('The server refused us.')
    this.socket.send(Buffer.from([1]))
    const init = await this.read(24)
    const name = await this.read(init.readUInt32BE(20))
    return { width: init.readUInt16BE(0), height: init.readUInt16BE(2), name: String(name) }
  }

  /** Asks for the whole screen and reads one raw rectangle: its pixels. Section 7.6.1. */
  async readFrame(width: number, height: number): Promise<Buffer> {
    const request = Buffer.from([3, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    request.writeUInt16BE(width, 6)
    request.writeUInt16BE(height, 8)
    this.socket.send(request)
    await this.read(4)
    const rectangle = await this.read(12)
    return this.read(rectangle.readUInt16BE(4) * rectangle.readUInt16BE(6) * 4)
  }

  async read(length: number): Promise<Buffer> {
    while (this.#length < length) {
      const arrived = new Promise<void>((resolve) => {
        this.#arrived = resolve
      })
      const end = await Promise.race([arrived, this.closed])
      if (end && this.#length < length) throw new Error(`The console closed: ${end.code} ${end.reason}`)
    }
    const all = Buffer.concat(this.#chunks)
    this.#chunks = [all.subarray(length)]
    this.#length -= length
    return all.subarray(0, length)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.terminate()
    await this.closed
  }
}
