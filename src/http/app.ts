import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FastifyInstance, FastifyTypeProvider, RawServerDefault } from 'fastify'
import type { Logger } from 'pino'
import type { Static, TSchema } from 'typebox'
import type { Cloud } from '../cloud.ts'
import { computeRoutes } from '../compute-api/compute-routes.ts'
import { floatingIpProxyRoutes } from '../compute-network/floating-ip-proxy-routes.ts'
import { securityGroupProxyRoutes } from '../compute-network/security-group-proxy-routes.ts'
import { consoleRoutes } from '../consoles/console-routes.ts'
import { flavorRoutes } from '../flavors/flavor-routes.ts'
import { floatingIpRoutes } from '../floating-ips/floating-ip-routes.ts'
import { identityRoutes } from '../identity/identity-routes.ts'
import type { TokenFacts } from '../identity/token-store.ts'
import { imageRoutes } from '../images/image-routes.ts'
import { keypairRoutes } from '../keypairs/keypair-routes.ts'
import { plainNetworkUrl } from '../network-api/dialect.ts'
import { discoveryRoutes } from '../network-api/discovery-routes.ts'
import { networkRoutes } from '../networks/network-routes.ts'
import { portRoutes } from '../ports/port-routes.ts'
import { networkQuotaRoutes } from '../quotas/network-quota-routes.ts'
import { routerRoutes } from '../routers/router-routes.ts'
import { securityGroupRoutes } from '../security-groups/security-group-routes.ts'
import { serverVolumeRoutes } from '../servers/attachment-routes.ts'
import { diagnosticsRoutes } from '../servers/diagnostics-routes.ts'
import { guestPasswordRoutes } from '../servers/guest-password-routes.ts'
import { instanceActionRoutes } from '../servers/instance-action-routes.ts'
import { interfaceRoutes } from '../servers/interface-routes.ts'
import { serverRoutes } from '../servers/server-routes.ts'
import { volumeAttachmentRoutes } from '../volumes/attachment-routes.ts'
import { volumeMetadataRoutes } from '../volumes/metadata-routes.ts'
import { snapshotRoutes } from '../volumes/snapshot-routes.ts'
import { transferRoutes } from '../volumes/transfer-routes.ts'
import { volumeActionRoutes } from '../volumes/volume-action-routes.ts'
import { volumeDiscoveryRoutes } from '../volumes/volume-discovery-routes.ts'
import { volumeQuotaRoutes } from '../volumes/volume-quota-routes.ts'
import { volumeRoutes } from '../volumes/volume-routes.ts'
import { volumeTypeRoutes } from '../volumes/volume-type-routes.ts'
import { webRoutes } from '../web/web-routes.ts'
import { limitArrival } from './arrival.ts'
import { baseUrl } from './base-url.ts'
import { Links, uosRoots } from './links.ts'
import { openApp } from './open-app.ts'
import { operationRoutes } from './operation-routes.ts'
import type { Caller, Operation } from './policy.ts'

/** What a route's schema says is what its handler gets. */
export interface TypeBoxProvider extends FastifyTypeProvider {
  validator: this['schema'] extends TSchema ? Static<this['schema']> : unknown
  serializer: this['schema'] extends TSchema ? Static<this['schema']> : unknown
}

export type App = FastifyInstance<RawServerDefault, IncomingMessage, ServerResponse, Logger, TypeBoxProvider>

declare module 'fastify' {
  interface FastifyRequest {
    /** What the caller's token stands for. Not there on public routes. */
    token: TokenFacts
    /** Who calls, in the project of the token. Not there on public routes. */
    caller: Caller
    links: Links
  }
  interface FastifyContextConfig {
    /** What the route does, for the policy table. Every route has this or `isPublic`. */
    operation?: Operation
    /** Needs no token. */
    isPublic?: true
    /** Answered, and logged, by another app. */
    isHandedOver?: true
  }
}

/** Registers every slice on one app; never listens. */
export async function buildApp(cloud: Cloud): Promise<App> {
  const app = openApp(cloud, {
    rewriteUrl: (url) => plainNetworkUrl(url).replace(/^\/image\/v2\/v2\//, '/image/v2/'),
    openapiPath: '/openapi.json',
    projectInPath: ({ params }) => (params as { projectId?: string } | undefined)?.projectId,
    linksOf: (request) => new Links(baseUrl(cloud, request), uosRoots(request.caller.projectId)),
  })
  limitArrival(app)
  for (const routes of [
    operationRoutes,
    computeRoutes,
    identityRoutes,
    flavorRoutes,
    keypairRoutes,
    imageRoutes,
    discoveryRoutes,
    networkRoutes,
    portRoutes,
    networkQuotaRoutes,
    securityGroupRoutes,
    routerRoutes,
    floatingIpRoutes,
    serverRoutes,
    instanceActionRoutes,
    interfaceRoutes,
    guestPasswordRoutes,
    diagnosticsRoutes,
    serverVolumeRoutes,
    floatingIpProxyRoutes,
    securityGroupProxyRoutes,
    consoleRoutes,
    volumeDiscoveryRoutes,
    volumeRoutes,
    volumeActionRoutes,
    volumeMetadataRoutes,
    snapshotRoutes,
    volumeTypeRoutes,
    volumeAttachmentRoutes,
    volumeQuotaRoutes,
    transferRoutes,
    webRoutes,
  ]) {
    await app.register(async (scope) => routes(scope as unknown as App, cloud))
  }
  return app
}
