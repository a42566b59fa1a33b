/**
 * How long requests may take to arrive. Node has one limit for all, and images take hours: so the headers are its to
 * watch, and the bodies are watched here, but for those of routes that watch them themselves.
 */
import type { IncomingMessage } from 'node:http'
import type { App } from './app.ts'

/** A request may take so long to arrive, its body with it, in milliseconds; a half-sent one would stay for ever. */
export const ARRIVAL_MS = 30_000
/** How long a client may go on sending what nobody reads any more, in milliseconds. */
const LINGER_MS = 5_000

const watches = new WeakMap<IncomingMessage, () => void>()

declare module 'fastify' {
  interface FastifyInstance {
    /** The limit for bodies, in milliseconds. */
    arrival: { bodyMs: number }
  }
}

/** Refuses, with the answer for what Node's parser refuses, requests whose body does not arrive in time. */
export function limitArrival(app: App): void {
  const arrival = { bodyMs: ARRIVAL_MS }
  app.decorate('arrival', arrival)
  app.server.prependListener('request', (request: IncomingMessage) => {
    const { 'content-length': length, 'transfer-encoding': encoding } = request.headers
    if (encoding === undefined && (length === undefined || length === '0')) return
    const timer = setTimeout(() => {
      if (request.complete) return
      const late = Object.assign(new Error('The request did not arrive in time.'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' })
      app.server.emit('clientError', late, request.socket)
    }, arrival.bodyMs)
    timer.unref()
    const stop = () => clearTimeout(timer)
    request.once('end', stop)
    request.once('close', stop)
    watches.set(request, stop)
  })
}

/** The route watches its body itself. */
export function letArriveSlowly(request: IncomingMessage): void {
  watches.get(request)?.()
}

/** Ends a connection whose client goes on sending a body that nobody reads: it has its answer. */
export function lingerNoLonger(request: IncomingMessage): void {
  if (request.complete) return
  request.resume()
  const timer = setTimeout(() => {
    if (!request.complete) request.destroy()
  }, LINGER_MS)
  timer.unref()
  request.once('close', () => clearTimeout(timer))
}
