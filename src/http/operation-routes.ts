import type { Cloud } from '../cloud.ts'
import type { App } from './app.ts'

/** What those who run Novella ask: is it well, and how does it do. */
export function operationRoutes(app: App, cloud: Cloud): void {
  app.get('/healthz', { schema: { hide: true }, config: { isPublic: true } }, async (_request, reply) => {
    // One cheap read proves that the process turns and the database answers.
    await cloud.db.read.selectFrom('domains').select('id').limit(1).execute()
    return reply.send({ status: 'ok' })
  })

  app.get('/metrics', { schema: { hide: true }, config: { isPublic: true } }, async (_request, reply) => {
    return reply.type(cloud.metrics.registry.contentType).send(await cloud.metrics.registry.metrics())
  })
}
