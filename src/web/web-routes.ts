import { fileURLToPath } from 'node:url'
import fastifyStatic from '@fastify/static'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Cloud } from '../cloud.ts'
import { ApiError } from '../http/api-error.ts'
import type { App } from '../http/app.ts'
import { baseUrl } from '../http/base-url.ts'
import { pageHeaders } from './page-headers.ts'
import { versionsView, versionView } from './version-view.ts'

const PAGES = fileURLToPath(new URL('./pages/', import.meta.url))
/** What the pages consist of; whatever else lies there is nobody's business. */
const PART = /^[a-z-]+\.(css|js|svg)$/

/** The web page for people at `/`, its parts, and the version documents for programs. */
export async function webRoutes(app: App, cloud: Cloud): Promise<void> {
  await app.register(fastifyStatic, { root: PAGES, serve: false })
  const route = { schema: { hide: true }, config: { isPublic: true as const } }

  // Asked about again each time, by its tag: after an update no old script meets a new page.
  const sendPart = (request: FastifyRequest, reply: FastifyReply, part: string) =>
    reply
      .headers({ ...pageHeaders(cloud, request), 'cache-control': 'no-cache' })
      .sendFile(part, { cacheControl: false })

  app.get('/', route, (request, reply) => {
    reply.header('vary', 'Accept')
    if (!wantsPage(request)) return reply.send(versionsView(baseUrl(cloud, request)))
    return sendPart(request, reply, 'index.html')
  })

  app.get('/v2', route, (request, reply) => reply.send(versionView(baseUrl(cloud, request))))

  app.get('/web/*', route, (request, reply) => {
    const part = (request.params as { '*': string })['*']
    if (!PART.test(part)) throw new ApiError('itemNotFound', 'The resource could not be found.')
    return sendPart(request, reply, part)
  })
}

/** Browsers name HTML; curl and SDKs take anything, or name JSON. */
const wantsPage = (request: FastifyRequest): boolean => /\btext\/html\b/i.test(request.headers.accept ?? '')
