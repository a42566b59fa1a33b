/**
 * The HTTP side of metadata, written for callers that may mean harm: guests share this process with the whole cloud.
 * Bounded are the connections of a guest and of a network, what is answered at once (open-questions.ts), how often a
 * guest asks (guest-rates.ts), and the size and duration of each request; nft-rules.ts bounds how often it connects. Who pipelines is cut off: no client that asks for metadata does, and a few kilobytes
 * would hold a thousand questions.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Logger } from 'pino'
import type { MetadataAnswer, MetadataQuestion } from '../host-driver.ts'
import { GuestRates } from './guest-rates.ts'
import { OpenQuestions } from './open-questions.ts'

/** What one guest, and all of a network, may hold open at once. */
const CONNECTIONS_PER_GUEST = 16
const CONNECTIONS_PER_NETWORK = 1_024
/** After so many the connection is closed, so that none is held for ever. */
const REQUESTS_PER_CONNECTION = 256
/** The longest that a guest has to say is its password, encrypted: about a thousand. */
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

/**
 * The server of one network, not listening. A rejection of `answerMetadata` becomes a 500 that says nothing.
 * @param now a clock that only goes on, in milliseconds.
 */
export function createMetadataServer(
  networkId: string,
  answerMetadata: AnswerMetadata,
  log: Logger,
  now: () => number = () => performance.now(),
): Server {
  const busy = new WeakSet<Socket>()
  const open = new OpenQuestions()
  const rates = new GuestRates()

  const ask = async (request: IncomingMessage): Promise<MetadataAnswer> => {
    const body = await readBody(request)
    if (!body) return refusal(413, 'Payload Too Large')
    const ipAddress = request.socket.remoteAddress
    if (ipAddress === undefined) return refusal(400, 'Bad Request') // cut off while it sent the body
    const waitS = rates.take(ipAddress, now())
    if (waitS > 0) return refusal(429, 'Too many questions', { 'retry-after': String(waitS) })
    if (!open.enter(ipAddress)) return refusal(503, 'Too many questions at once', { 'retry-after': '1' })
    const { method = 'GET', url = '/', headers } = request
    try {
      return await answerMetadata({ networkId, ipAddress, method, path: url, headers, body })
    } finally {
      open.leave(ipAddress)
    }
  }

  const server = createServer(HTTP_LIMITS, (request, response) => {
    const { socket } = request
    if (socket.destroyed) return // what was read with the request that cut it off
    if (busy.has(socket)) return void socket.destroy()
    busy.add(socket)
    response.once('close', () => busy.delete(socket))
    ask(request)
      .then((reply) => send(response, reply))
      .catch((error: unknown) => {
        log.error({ err: error, networkId, path: request.url }, 'A metadata question could not be answered')
        if (response.headersSent) response.destroy()
        else send(response, { status: 500, contentType: 'text/plain', body: 'Internal Server Error' })
      })
  })
  server.maxConnections = CONNECTIONS_PER_NETWORK
  server.maxRequestsPerSocket = REQUESTS_PER_CONNECTION
  server.timeout = IDLE_MS
  limitPerGuest(server)
  return server
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

const refusal = (status: number, body: string, headers: Record<string, string> = {}): MetadataAnswer => ({
  status,
  contentType: 'text/plain',
  body,
  headers: { ...headers, connection: 'close' },
})

/** The body; undefined when it is too long. */
async function readBody(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    size += (chunk as Buffer).length
    if (size > BODY_LIMIT_BYTES) return undefined
    chunks.push(chunk as Buffer)
  }
  return Buffer.concat(chunks)
}

function send(response: ServerResponse, { status, contentType, body, headers }: MetadataAnswer): void {
  response.writeHead(status, { ...headers, 'content-type': contentType, 'content-length': Buffer.byteLength(body) })
  response.end(body)
}
