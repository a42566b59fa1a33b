/**
 * Which versions there are. Clients ask before they have a token.
 * Source: shared/spec/nova-v21.md, section 1; shared/spec/samples/nova/versions.
 */
import type { FastifyRequest } from 'fastify'
import type { Cloud } from '../cloud.ts'
import type { App } from '../http/app.ts'
import { baseUrl } from '../http/base-url.ts'
import { NOVA } from '../http/dialect.ts'
import { NEWEST_VERSION, OLDEST_VERSION, versionText } from './microversion.ts'

/** When the contract of 2.1 was drawn up: clients compare it with nothing, and some want it there. */
const UPDATED = '2013-07-23T11:33:21Z'
const MEDIA_TYPES = [{ base: 'application/json', type: 'application/vnd.openstack.compute+json;version=2.1' }]

/** The documents about versions, and the choice that a path without a version has. */
export function computeDiscoveryRoutes(app: App, cloud: Cloud): void {
  const version = (request: FastifyRequest) => ({
    id: 'v2.1',
    status: 'CURRENT',
    version: versionText(NEWEST_VERSION),
    min_version: versionText(OLDEST_VERSION),
    updated: UPDATED,
    links: [{ rel: 'self', href: `${baseUrl(cloud, request)}${NOVA.base}/` }],
  })
  const config = { isPublic: true } as const

  app.get('/compute', { config }, async (request) => ({ versions: [version(request)] }))
  app.get(NOVA.base, { config }, async (request) => ({ version: { ...version(request), 'media-types': MEDIA_TYPES } }))
  app.get('/compute/*', { config }, async (request, reply) => {
    if (request.url.startsWith(`${NOVA.base}/`)) return reply.callNotFound()
    const { id, status } = version(request)
    const path = request.url.slice('/compute/'.length)
    const links = [{ rel: 'self', href: `${baseUrl(cloud, request)}${NOVA.base}/${path}` }]
    return reply.code(300).send({ choices: [{ id, status, links, 'media-types': MEDIA_TYPES }] })
  })
}
