import type { FastifyRequest } from 'fastify'
import type { Cloud } from '../cloud.ts'
import type { App } from '../http/app.ts'
import { baseUrl } from '../http/base-url.ts'

/** The newest feature level: Glance's without cache and several stores. */
const NEWEST = 17

/**
 * What clients ask for before they have a token, to find out where version 2 is.
 * Source: shared/spec/neighbours.md, section 1.3.
 */
export function imageVersionRoutes(app: App, cloud: Cloud): void {
  const document = (request: FastifyRequest) => {
    const links = [{ rel: 'self', href: `${baseUrl(cloud, request)}/image/v2/` }]
    const versions = Array.from({ length: NEWEST + 1 }, (_, at) => NEWEST - at).map((minor) => ({
      id: `v2.${minor}`,
      status: minor === NEWEST ? 'CURRENT' : 'SUPPORTED',
      links,
    }))
    return { versions }
  }
  const config = { isPublic: true } as const
  for (const path of ['/image', '/image/v2']) {
    app.get(path, { config }, async (request, reply) => reply.code(300).send(document(request)))
  }
  app.get('/image/versions', { config }, async (request) => document(request))
}
