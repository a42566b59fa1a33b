import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FastifyInstance, FastifyTypeProvider, RawServerDefault } from 'fastify'
import fastify, { LogController } from 'fastify'
import type { Logger } from 'pino'
import type { Static, TSchema } from 'typebox'
import type { Cloud } from '../cloud.ts'
import { floatingIpProxyRoutes } from '../compute-network/floating-ip-proxy-routes.ts'
import { securityGroupProxyRoutes } from '../compute-network/security-group-proxy-routes.ts'
import { consoleRoutes } from '../consoles/console-routes.ts'
import { flavorRoutes } from '../flavors/flavor-routes.ts'
import { floatingIpRoutes } from '../floating-ips/floating-ip-routes.ts'
import { identityRoutes } from '../identity/identity-routes.ts'
import type { TokenFacts } from '../identity/token-store.ts'
import { imageRoutes } from '../images/image-routes.ts'
import { keypairRoutes } from '../keypairs/keypair-routes.ts'
import { withoutSecrets } from '../lib/log.ts'
import { plainNetworkUrl } from '../network-api/dialect.ts'
import { discoveryRoutes } from '../network-api/discovery-routes.ts'
import { networkRoutes } from '../networks/network-routes.ts'
import { portRoutes } from '../ports/port-routes.ts'
import { networkQuotaRoutes } from '../quotas/network-quota-routes.ts'
import { routerRoutes } from '../routers/router-routes.ts'
import { securityGroupRoutes } from '../security-groups/security-group-routes.ts'
import { serverVolumeRoutes } from '../servers/attachment-routes.ts'
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
import { ARRIVAL_MS, limitArrival } from './arrival.ts'
import { baseUrl } from './base-url.ts'
import { acceptBodies, refuseNul } from './bodies.ts'
import { answerFaults, faultAnswerer } from './faults.ts'
import { compileLate } from './late-schemas.ts'
import { Links } from './links.ts'
import { malformedAnswerer } from './malformed.ts'
import { describeApi } from './openapi.ts'
import { operationRoutes } from './operation-routes.ts'
import type { Caller, Operation } from './policy.ts'
import { authenticate, authorize } from './token-auth.ts'

/** Bodies beyond this are refused with 413. User data alone may have 64 KiB. */
const BODY_BYTES = 1_048_576

/** A part of a path that is longer than any id of ours may be a token, and tokens stay out of the log. */
const MAYBE_SECRET = /[^/]{41,}/g

/**
 * Queries and bodies are taken as they are; a schema that allows a digit string says so. The schemas are typed where they
 * are written; to check them against the meta-schema would compile it at each start.
 */
const AJV = {
  coerceTypes: false,
  removeAdditional: false,
  useDefaults: false,
  allErrors: false,
  validateSchema: false,
} as const

/** What a route's schema says is what its handler gets. */
interface TypeBoxProvider extends FastifyTypeProvider {
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
  }
}

/** Registers every slice on one app; never listens. */
export async function buildApp(cloud: Cloud): Promise<App> {
  const answerFault = faultAnswerer(cloud)
  const app = fastify({
    loggerInstance: cloud.log,
    // One line a request is enough, and ours leaves the query out.
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: BODY_BYTES,
    rewriteUrl: ({ url = '/' }) => plainNetworkUrl(url).replace(/^\/image\/v2\/v2\//, '/image/v2/'),
    genReqId: () => `req-${randomUUID()}`,
    routerOptions: { ignoreTrailingSlash: true, maxParamLength: 300 },
    // Bodies have a limit of their own, in arrival.ts.
    requestTimeout: 0,
    http: { headersTimeout: ARRIVAL_MS },
    // A proxy on this machine may say who asks, if there is one; from anyone else the header is a guess at another
    // address, and failed logins are counted by it.
    trustProxy: cloud.config.publicUrl === '' ? false : 'loopback',
    // What is refused before there is a request.
    clientErrorHandler: malformedAnswerer(cloud.log),
    // What is refused before there is a route and its hooks.
    frameworkErrors: (error, request, reply) => void answerFault(error, request, reply.headers(requestIds(request))),
  }).withTypeProvider<TypeBoxProvider>() as unknown as App

  app.addHook('onRoute', ({ config, url, method }) => {
    if (config?.operation === undefined && config?.isPublic !== true) {
      throw new Error(`${method} ${url} names neither an operation nor isPublic.`)
    }
  })
  limitArrival(app)
  compileLate(app, AJV)
  acceptBodies(app)
  answerFaults(app, cloud)
  describeApi(app)

  app.decorateRequest('token')
  app.decorateRequest('caller')
  app.decorateRequest('links')
  app.addHook('onRequest', async (request, reply) => {
    reply.headers(requestIds(request))
    refuseNul(request.url)
    const { operation } = request.routeOptions.config
    if (operation === undefined) return
    request.token = await authenticate(cloud, request)
    request.caller = authorize(request, request.token, operation)
    request.links = new Links(baseUrl(cloud, request), request.caller.projectId)
  })
  const answers = withoutSecrets(cloud.log)
  app.addHook('onResponse', (request, reply, done) => {
    const route = request.routeOptions.url ?? 'none'
    const { statusCode: status, elapsedTime: ms } = reply
    cloud.metrics.requests.observe({ method: request.method, route, status }, ms / 1000)
    // The path without its query: a console token travels there.
    const path = request.url.split('?', 1)[0]?.replace(MAYBE_SECRET, '…')
    answers.info({ reqId: request.id, method: request.method, path, status, ms: Math.round(ms * 10) / 10 }, 'answered')
    done()
  })

  for (const routes of [
    operationRoutes,
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
    interfaceRoutes,
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

const requestIds = ({ id }: { id: string }) => ({ 'x-compute-request-id': id, 'x-openstack-request-id': id })
