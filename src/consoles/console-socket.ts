/**
 * A guest's screen or serial console on a WebSocket.
 *
 *   upgrade ── wrong origin, bad token, server off ──► a plain HTTP answer, and the socket is closed
 *      └────── 101 ──► bytes of RFB, or of a terminal, both ways, until either side ends
 *
 * Close codes: 1000 when the console ended (the server was switched off or deleted), 1001 when Novella stops.
 */
import { type IncomingMessage, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { createWebSocketStream, type WebSocket, WebSocketServer } from 'ws'
import type { Cloud } from '../cloud.ts'
import { ApiError, toFault } from '../http/api-error.ts'
import { isOwnOrigin } from './console-origin.ts'
import type { ConsoleType } from './console-store.ts'
import { consoleWord, openConsole } from './open-console.ts'

/** Where the WebSocket of each type is; the token is its query. */
export const SOCKET_PATHS: Readonly<Record<ConsoleType, string>> = { novnc: '/websockify', serial: '/serial' }

/** What a client may send at once; a large paste into the guest's clipboard is the most there is. */
const MESSAGE_BYTES = 1_048_576
/** Silence longer than this is asked about, and silence after that ends the console, in milliseconds. */
const HEARTBEAT_MS = 30_000
/** How long a client may take to say goodbye, in milliseconds. */
const GOODBYE_MS = 1_000

export const isConsoleRequest = (request: IncomingMessage): boolean => typeOf(request) !== undefined

/** All open consoles of this process. */
export class ConsoleSockets {
  readonly #cloud: Cloud
  readonly #server = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: MESSAGE_BYTES,
    // Old clients name the subprotocol they want; there is only this one.
    handleProtocols: (protocols) => (protocols.has('binary') ? 'binary' : false),
  })

  constructor(cloud: Cloud) {
    this.#cloud = cloud
  }

  /** Answers an upgrade request: with a console, or with why not. Never throws. */
  async accept(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const dropped = () => socket.destroy()
    socket.on('error', dropped)
    try {
      const { origin, host } = request.headers
      if (!isOwnOrigin(origin, host, this.#cloud.config.publicUrl)) {
        throw new ApiError('forbidden', 'Consoles open only from pages of this cloud.')
      }
      const type = typeOf(request)
      if (type === undefined) throw new ApiError('itemNotFound', 'The resource could not be found.')
      const { serverId, stream } = await openConsole(this.#cloud, type, tokenOf(request))
      socket.once('close', () => stream.destroy())
      if (socket.destroyed) return void stream.destroy()
      socket.off('error', dropped)
      this.#server.handleUpgrade(request, socket, head, (client) => this.#join(client, type, stream, serverId))
    } catch (error) {
      this.#refuse(socket, error)
    }
  }

  /** Says goodbye to every client; resolves when all are gone. */
  async close(): Promise<void> {
    const closing = [...this.#server.clients].map((client) => {
      client.close(1001, 'Novella is stopping.')
      const impatience = setTimeout(() => client.terminate(), GOODBYE_MS)
      return new Promise<void>((resolve) => {
        client.once('close', () => {
          clearTimeout(impatience)
          resolve()
        })
      })
    })
    await Promise.all(closing)
    this.#server.close()
  }

  #join(client: WebSocket, type: ConsoleType, stream: Duplex, serverId: string): void {
    const { log, clock } = this.#cloud
    log.info({ serverId, type }, 'a console was opened')
    // The stream carries the back pressure both ways: it stops reading from whichever side the other cannot follow.
    const channel = createWebSocketStream(client)
    channel.on('error', (error) => log.debug({ err: error, serverId }, 'a console failed'))
    stream.pipe(channel, { end: false })
    channel.pipe(stream)
    const end = () => client.close(1000, `The ${consoleWord(type)} of the server has ended.`)
    stream.once('end', end).once('close', end)
    if (stream.destroyed) end()

    let isAlive = true
    client.on('pong', () => {
      isAlive = true
    })
    let cancel = clock.after(HEARTBEAT_MS, function beat() {
      if (!isAlive) return client.terminate()
      isAlive = false
      client.ping()
      cancel = clock.after(HEARTBEAT_MS, beat)
    })
    client.once('close', () => {
      cancel()
      stream.destroy()
      log.info({ serverId, type }, 'a console was closed')
    })
  }

  /** The refusal as an HTTP answer in plain words: this is before there is a WebSocket. */
  #refuse(socket: Duplex, error: unknown): void {
    const { status, body } = toFault(error, 'compute')
    const level = status >= 500 ? 'error' : 'debug'
    this.#cloud.log[level]({ err: error }, 'a console was refused')
    const text = `${(Object.values(body)[0] as { message: string }).message}\n`
    // Node leaves the other half of an upgraded socket open until the client closes it, which it may never do.
    socket.end(
      `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\nCache-Control: no-store\r\n` +
        `Content-Type: text/plain; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
      () => socket.destroy(),
    )
  }
}

const pathOf = (request: IncomingMessage): string => (request.url ?? '').split('?', 1)[0] ?? ''

const typeOf = (request: IncomingMessage): ConsoleType | undefined =>
  (Object.keys(SOCKET_PATHS) as ConsoleType[]).find((type) => SOCKET_PATHS[type] === pathOf(request))

const tokenOf = (request: IncomingMessage): string =>
  new URLSearchParams((request.url ?? '').slice(pathOf(request).length)).get('token') ?? ''
