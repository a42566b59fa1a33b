import type { RouteOptions } from 'fastify'
import fastify from 'fastify'
import { VERSION } from '../lib/version.ts'
import type { App } from './app.ts'

/**
 * Collects the schemas of all routes registered after this, and serves them at `path`. What makes the document
 * is loaded when somebody first asks for it: few ever do, and every start would pay for it.
 */
export function describeApi(app: App, path: string): void {
  const routes: RouteOptions[] = []
  app.addHook('onRoute', ({ method, url, schema, config }) => {
    routes.push({ method, url, schema: schema ?? {}, config: config ?? {}, handler: async () => {} })
  })
  let document: Promise<string> | undefined
  app.get(path, { schema: { hide: true }, config: { isPublic: true } }, async (_request, reply) => {
    document ??= writeDocument(routes)
    return reply.type('application/json').send(await document)
  })
}

/** The document, made by an app that has the same routes, with nothing behind them, and never listens. */
async function writeDocument(routes: readonly RouteOptions[]): Promise<string> {
  const { default: swagger } = await import('@fastify/swagger')
  await using app = fastify({ exposeHeadRoutes: false })
  app.setValidatorCompiler(() => () => true)
  app.setSerializerCompiler(() => JSON.stringify)
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Novella',
        version: VERSION,
        description: 'A whole compute cloud: UOS compute API, Nova dialect.',
      },
      components: {
        securitySchemes: { token: { type: 'apiKey', in: 'header', name: 'X-Auth-Token' } },
      },
    },
    // The document is about the API; pages and scripts for the browser are not part of it.
    transform: ({ schema, url, route }) => ({
      url,
      schema: {
        ...schema,
        ...paramsOf(url, schema as { params?: Params }),
        ...(route.config?.isPublic ? {} : { security: [{ token: [] }] }),
        ...(route.config?.operation ? { operationId: undefined, summary: route.config.operation } : {}),
      },
    }),
  })
  for (const route of routes) app.route(route)
  await app.ready()
  return JSON.stringify(app.swagger())
}

interface Params {
  properties?: object
}

/** All parts of the path that vary: routes name those that their handlers read, and the project is in most. */
function paramsOf(url: string, { params }: { params?: Params }): { params?: object } {
  const names = [...url.matchAll(/:([A-Za-z]+)/g)].map(([, name]) => name ?? '')
  if (names.length === 0) return {}
  const plain = Object.fromEntries(names.map((name) => [name, { type: 'string' }]))
  return { params: { type: 'object', required: names, properties: { ...plain, ...params?.properties } } }
}
