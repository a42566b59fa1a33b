/** Answers what Node's HTTP parser refuses: no request comes of it, so no route, hook or error handler sees it. */
import { randomUUID } from 'node:crypto'
import { type IncomingMessage, maxHeaderSize, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { Logger } from 'pino'
import { ApiError, serviceOf, toFault } from './api-error.ts'

/**
 * How long a client may go on sending what nobody reads, in milliseconds. To hang up at once would take the answer away
 * again: the kernel resets a connection that is closed with unread bytes in it.
 */
const LINGER_MS = 2_000

type ParserError = Error & { code?: string; reason?: string; rawPacket?: Buffer }
/** Node keeps the answer under way here, and looks at it for the same reason (`_http_server.js`, socketOnError). */
type HttpSocket = Socket & { _httpMessage?: ServerResponse<IncomingMessage> | null }

/**
 * The handler of the server's `clientError`s: answers in the shape of the service that was asked, as far as that can be
 * told, and closes the connection.
 */
export function malformedAnswerer(log: Logger): (error: Error, socket: Socket) => void {
  return (error: ParserError, socket: HttpSocket) => {
    // More of the same request is refused again; it has its answer.
    if (socket.writableEnded) return
    const underWay = socket._httpMessage
    // An earlier request of this connection is being answered: a refusal would be taken for its answer.
    const belongsToAnother = underWay ? underWay.headersSent || underWay.req.complete : false
    if (error.code === 'ECONNRESET' || !socket.writable || belongsToAnother) {
      socket.destroy()
      return
    }
    const requestId = `req-${randomUUID()}`
    const { status, body } = toFault(toApiError(error), serviceOf(targetOf(error.rawPacket)))
    // Not the error itself, which holds the bytes that came, and with them perhaps a token.
    log.info({ reqId: requestId, status, reason: error.code }, 'a malformed request was refused')
    socket.end(toHttp(status, requestId, JSON.stringify(body)))
    socket.resume()
    const linger = setTimeout(() => socket.destroy(), LINGER_MS)
    socket.once('close', () => clearTimeout(linger))
  }
}

function toApiError({ code, reason }: ParserError): ApiError {
  switch (code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new ApiError('requestTimeout', 'The request did not arrive in time.')
    case 'HPE_HEADER_OVERFLOW':
      return new ApiError('headersTooLarge', `The headers are larger than ${maxHeaderSize / 1024} KiB.`)
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return new ApiError('overLimit', 'The chunk extensions of the body are too large.')
    default:
      return new ApiError('badRequest', `The request is not valid HTTP${reason ? ` (${reason})` : ''}.`)
  }
}

/** The path of the request line, when that came with what was refused; otherwise ''. */
const targetOf = (packet: Buffer | undefined): string =>
  /^[A-Z]+ (\/\S*)/.exec(packet?.toString('latin1', 0, 1_000) ?? '')?.[1] ?? ''

function toHttp(status: number, requestId: string, body: string): string {
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    `X-Compute-Request-Id: ${requestId}`,
    `X-OpenStack-Request-Id: ${requestId}`,
    'Connection: close',
  ]
  return `${lines.join('\r\n')}\r\n\r\n${body}`
}
