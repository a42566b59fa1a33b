/**
 * Nova v2.1, for stock clients: an app of its own below `/compute`, since each of its requests speaks a version, and bodies
 * are taken strictly. It is built when somebody first asks for it.
 */
import type { FastifyRequest } from 'fastify'
import type { Cloud } from '../cloud.ts'
import { computeDiscoveryRoutes } from '../compute-api/discovery-routes.ts'
import { readMicroversion, versionHeaders } from '../compute-api/microversion.ts'
import { flavorRoutes } from '../flavors/flavor-routes.ts'
import { zoneRoutes } from '../hosts/zone-routes.ts'
import { keypairRoutes } from '../keypairs/keypair-routes.ts'
import { limitsRoutes } from '../quotas/limits-routes.ts'
import { serverVolumeRoutes } from '../servers/attachment-routes.ts'
import { diagnosticsRoutes } from '../servers/diagnostics-routes.ts'
import { guestPasswordRoutes } from '../servers/guest-password-routes.ts'
import { instanceActionRoutes } from '../servers/instance-action-routes.ts'
import { interfaceRoutes } from '../servers/interface-routes.ts'
import { novaServerRoutes } from '../servers/nova-server-routes.ts'
import { serverMetadataRoutes } from '../servers/server-metadata-routes.ts'
import type { App } from './app.ts'
import { baseUrl } from './base-url.ts'
import { NOVA } from './dialect.ts'
import { type LinkRoots, Links } from './links.ts'
import { openApp } from './open-app.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** N of the version 2.N that the request speaks; only of Nova's API. */
    microversion: number
  }
}

/** The project behind the version; all collections have letters beyond f, or a dash that no id begins with. */
const PROJECT = /^\/compute\/v2\.1\/([0-9a-f-]+)(?=[/?]|$)/

export const withoutProject = (url: string): string => url.replace(PROJECT, '/compute/v2.1')
const projectIn = (url: string): string | undefined => PROJECT.exec(url)?.[1]

/** Links name the project when the request's URL did. */
function rootsOf(request: FastifyRequest): LinkRoots {
  const project = projectIn(request.originalUrl)
  const end = project === undefined ? '' : `/${project}`
  return { self: `/compute/v2.1${end}`, bookmark: `/compute${end}` }
}

/** Registers every slice that speaks Nova v2.1; never listens. */
export async function buildComputeApp(cloud: Cloud): Promise<App> {
  const app = openApp(cloud, {
    rewriteUrl: withoutProject,
    openapiPath: '/compute/openapi.json',
    isStrict: NOVA.isStrict,
    projectInPath: (request) => projectIn(request.originalUrl),
    linksOf: (request) => new Links(baseUrl(cloud, request), rootsOf(request)),
  })
  app.decorateRequest('microversion')
  app.addHook('onRequest', async (request, reply) => {
    // Documents about versions are under none.
    if (request.routeOptions.config.isPublic) return
    request.microversion = readMicroversion(request.headers)
    reply.headers(versionHeaders(request.microversion))
  })
  for (const routes of [
    computeDiscoveryRoutes,
    novaServerRoutes,
    serverMetadataRoutes,
    instanceActionRoutes,
    diagnosticsRoutes,
    interfaceRoutes,
    serverVolumeRoutes,
    guestPasswordRoutes,
    flavorRoutes,
    keypairRoutes,
    zoneRoutes,
    limitsRoutes,
  ]) {
    await app.register(async (scope) => routes(scope as unknown as App, cloud, NOVA))
  }
  await app.ready()
  return app
}
