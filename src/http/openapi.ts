import swagger from '@fastify/swagger'
import { VERSION } from '../lib/version.ts'
import type { App } from './app.ts'

/** Collects the schemas of all routes registered after this, and serves them at `/openapi.json`. */
export async function describeApi(app: App): Promise<void> {
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
        ...(route.config?.isPublic ? {} : { security: [{ token: [] }] }),
        ...(route.config?.operation ? { operationId: undefined, summary: route.config.operation } : {}),
      },
    }),
  })
  let document: string | undefined
  app.get('/openapi.json', { schema: { hide: true }, config: { isPublic: true } }, async (_request, reply) => {
    document ??= JSON.stringify(app.swagger())
    return reply.type('application/json').send(document)
  })
}
