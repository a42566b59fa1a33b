/**
 * Metadata for the guests of one network, answered by this process on a socket that lives in the network's namespace.
 *
 * Who asks is the network of the socket and the source address of the connection, never a header. The address can be
 * trusted because of the filters in nft-rules.ts alone: they take packets to this service only from a tap, and only
 * with an address of that tap's port, anti-spoofing or not.
 */
import { spawn } from 'node:child_process'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Server as NetServer, Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import type { Logger } from 'pino'
import type { MetadataAnswer, MetadataQuestion } from '../host-driver.ts'
import { COMMAND_ENV } from '../run-program.ts'
import { METADATA_ADDRESS } from './names.ts'

const CHILD = fileURLToPath(new URL('./listener-child.mjs', import.meta.url))
/** How long the child may take to hand the socket over, in milliseconds; it takes about a hundred. */
const HAND_OVER_MS = 20_000

/** What one guest, and all of a network, may hold open at once. */
const CONNECTIONS_PER_GUEST = 16
const CONNECTIONS_PER_NETWORK = 1_024
/** Bodies are read only to throw them away; the requests that guests make have none. */
const BODY_LIMIT_BYTES = 4_096
const HTTP_LIMITS = {
  maxHeaderSize: 8_192,
  headersTimeout: 10_000,
  requestTimeout: 15_000,
  keepAliveTimeout: 5_000,
  connectionsCheckingInterval: 2_000,
}
/** A connection on which nothing moves, an answer that is not fetched included, ends after this, in milliseconds. */
const IDLE_MS = 30_000

export type AnswerMetadata = (question: MetadataQuestion) => Promise<MetadataAnswer>

/** The metadata listener of one network; disposing it closes the socket and every connection. */
export class MetadataListener implements AsyncDisposable {
  readonly #server: Server

  private constructor(server: Server) {
    this.#server = server
  }

  /**
   * Opens the listener in the namespace, which must hold 169.254.169.254.
   * @throws Error when it cannot, with what the child said.
   */
  static async open(
    namespace: string,
    networkId: string,
    answerMetadata: AnswerMetadata,
    log: Logger,
  ): Promise<MetadataListener> {
    const server = createServer(HTTP_LIMITS, (request, response) => {
      answer(request, response, networkId, answerMetadata).catch((error: unknown) => {
        log.error({ err: error, networkId, path: request.url }, 'A metadata question could not be answered')
        if (response.headersSent) response.destroy()
        else send(response, { status: 500, contentType: 'text/plain', body: 'Internal Server Error' })
      })
    })
    server.maxConnections = CONNECTIONS_PER_NETWORK
    server.timeout = IDLE_MS
    limitPerGuest(server)
    const socket = await openInNamespace(namespace)
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(socket, resolve)
    })
    return new MetadataListener(server)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve())
      this.#server.closeAllConnections()
    })
  }
}

/** A listening socket made inside the namespace by a short-lived child, which hands it over. */
function openInNamespace(namespace: string): Promise<NetServer> {
  return new Promise((resolve, reject) => {
    const args = ['netns', 'exec', namespace, process.execPath, CHILD, METADATA_ADDRESS, '80']
    const child = spawn('ip', args, {
      env: { ...COMMAND_ENV },
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      timeout: HAND_OVER_MS,
      killSignal: 'SIGKILL',
    })
    let complaint = ''
    let listener: NetServer | undefined
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      complaint += text
    })
    child.on('message', (_message, handle) => {
      listener = handle as NetServer
    })
    child.on('error', reject)
    child.on('close', (code, signal) => {
      if (listener) resolve(listener)
      else reject(new Error(`No metadata listener in ${namespace}: child ended with ${code ?? signal}: ${complaint}`))
    })
  })
}

function limitPerGuest(server: Server): void {
  const open = new Map<string, number>()
  server.on('connection', (socket: Socket) => {
    const guest = socket.remoteAddress ?? ''
    const count = (open.get(guest) ?? 0) + 1
    open.set(guest, count)
    socket.once('close', () => {
      const left = (open.get(guest) ?? 1) - 1
      if (left > 0) open.set(guest, left)
      else open.delete(guest)
    })
    if (count > CONNECTIONS_PER_GUEST) socket.destroy()
  })
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  networkId: string,
  answerMetadata: AnswerMetadata,
): Promise<void> {
  if (!(await discardBody(request))) {
    send(response, {
      status: 413,
      contentType: 'text/plain',
      body: 'Payload Too Large',
      headers: { connection: 'close' },
    })
    return
  }
  const reply = await answerMetadata({
    networkId,
    ipAddress: request.socket.remoteAddress ?? '',
    method: request.method ?? 'GET',
    path: request.url ?? '/',
    headers: request.headers,
  })
  send(response, reply)
}

/** Reads the body away; false when it is too long. */
async function discardBody(request: IncomingMessage): Promise<boolean> {
  let size = 0
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    size += (chunk as Buffer).length
    if (size > BODY_LIMIT_BYTES) return false
  }
  return true
}

function send(response: ServerResponse, { status, contentType, body, headers }: MetadataAnswer): void {
  response.writeHead(status, { ...headers, 'content-type': contentType, 'content-length': Buffer.byteLength(body) })
  response.end(body)
}
