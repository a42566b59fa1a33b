import { randomUUID } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import fastify, { LogController } from 'fastify'
import type { Cloud } from '../cloud.ts'
import { withoutSecrets } from '../lib/log.ts'
import type { App, TypeBoxProvider } from './app.ts'
import { ARRIVAL_MS } from './arrival.ts'
import { acceptBodies, refuseNul } from './bodies.ts'
import { answerFaults, faultAnswerer } from './faults.ts'
import { compileLate } from './late-schemas.ts'
import type { Links } from './links.ts'
import { malformedAnswerer } from './malformed.ts'
import { describeApi } from './openapi.ts'
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

export interface AppOptions {
  /** What a URL stands for, where clients write it in several ways. */
  rewriteUrl(url: string): string
  /** As a dialect says; not when left out. */
  isStrict?: boolean
  /** Where the schemas of the routes can be read. */
  openapiPath: string
  /** The project that a path names; undefined: it names none. */
  projectInPath(request: FastifyRequest): string | undefined
  /** Builds the links of an answer; asked once it is known who calls. */
  linksOf(request: FastifyRequest): Links
}

/**
 * An app without routes: how requests are read, callers told apart, failures answered and requests logged is the same
 * for all services.
 */
export function openApp(cloud: Cloud, options: AppOptions): App {
  const answerFault = faultAnswerer(cloud)
  const app = fastify({
    loggerInstance: cloud.log,
    // One line a request is enough, and ours leaves the query out.
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: BODY_BYTES,
    rewriteUrl: ({ url = '/' }) => options.rewriteUrl(url),
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
  compileLate(app, AJV, { isStrict: options.isStrict ?? false })
  acceptBodies(app)
  answerFaults(app, cloud)
  describeApi(app, options.openapiPath)

  app.decorateRequest('token')
  app.decorateRequest('caller')
  app.decorateRequest('links')
  app.addHook('onRequest', async (request, reply) => {
    reply.headers(requestIds(request))
    refuseNul(request.url)
    const { operation } = request.routeOptions.config
    if (operation === undefined) return
    request.token = await authenticate(cloud, request)
    request.caller = authorize(request, request.token, operation, options.projectInPath(request))
    request.links = options.linksOf(request)
  })
  const answers = withoutSecrets(cloud.log)
  app.addHook('onResponse', (request, reply, done) => {
    if (request.routeOptions.config.isHandedOver) return done()
    const route = request.routeOptions.url ?? 'none'
    const { statusCode: status, elapsedTime: ms } = reply
    cloud.metrics.requests.observe({ method: request.method, route, status }, ms / 1000)
    // The path without its query: a console token travels there.
    const path = request.url.split('?', 1)[0]?.replace(MAYBE_SECRET, '…')
    answers.info({ reqId: request.id, method: request.method, path, status, ms: Math.round(ms * 10) / 10 }, 'answered')
    done()
  })
  return app
}

const requestIds = ({ id }: { id: string }) => ({ 'x-compute-request-id': id, 'x-openstack-request-id': id })
