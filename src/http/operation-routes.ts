import { statfs } from 'node:fs/promises'
import type { Cloud } from '../cloud.ts'
import type { App } from './app.ts'
import { diskFull } from './faults.ts'

/** With less room than this in the data directory hardly anything can be written. */
const LEAST_ROOM_BYTES = 1_048_576

/** What those who run Novella ask: is it well, and how does it do. */
export function operationRoutes(app: App, cloud: Cloud): void {
  app.get('/healthz', { schema: { hide: true }, config: { isPublic: true } }, async (_request, reply) => {
    // One cheap read proves that the process turns and the database answers.
    await cloud.db.read.selectFrom('domains').select('id').limit(1).execute()
    const { bavail, bsize } = await statfs(cloud.config.data)
    if (bavail * bsize < LEAST_ROOM_BYTES) throw diskFull()
    return reply.send({ status: 'ok' })
  })

  app.get('/metrics', { schema: { hide: true }, config: { isPublic: true } }, async (_request, reply) => {
    return reply.type(cloud.metrics.registry.contentType).send(await cloud.metrics.registry.metrics())
  })
}
