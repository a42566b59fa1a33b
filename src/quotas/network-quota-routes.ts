/** What projects may have of the network's resources, and what they have. Source: shared/spec/neighbours.md §4. */
import { Type } from 'typebox'
import type { Cloud } from '../cloud.ts'
import type { App } from '../http/app.ts'
import type { Caller } from '../http/policy.ts'
import { type Attributes, bodySchema, integer, readEnvelope, readValues } from '../network-api/attributes.ts'
import { networkError } from '../network-api/network-errors.ts'
import { countNetworkUse, NETWORK_QUOTAS, readNetworkQuotas } from '../network-api/network-quotas.ts'
import { networkRoute } from '../network-api/resource-routes.ts'

/** -1 is no limit; the largest is what clients can store. */
const limit = () => integer(-1, 2_147_483_647)
const SHAPE = {
  singular: 'quota',
  attributes: Object.fromEntries(Object.keys(NETWORK_QUOTAS).map((resource) => [resource, limit()])) as Attributes,
}

const OfProject = Type.Object({ id: Type.String() })

/** Quotas are read by their project and written by admins. */
export function networkQuotaRoutes(app: App, cloud: Cloud): void {
  const { db } = cloud
  const one = '/quotas/:id'

  networkRoute(app, cloud, {
    method: 'GET',
    path: '/quotas',
    operation: 'network:admin',
    async handle() {
      const projects = await db.read.selectFrom('networkQuotas').select('projectId').distinct().execute()
      const quotas = projects.map(async ({ projectId }) => ({
        ...(await readNetworkQuotas(db.read, projectId)),
        project_id: projectId,
        tenant_id: projectId,
      }))
      return { quotas: await Promise.all(quotas) }
    },
  })

  networkRoute(app, cloud, {
    method: 'GET',
    path: one,
    operation: 'network:read',
    params: OfProject,
    handle: async ({ caller }, request) => ({ quota: await readNetworkQuotas(db.read, projectOf(caller, request)) }),
  })

  networkRoute(app, cloud, {
    method: 'GET',
    path: `${one}/default`,
    operation: 'network:read',
    params: OfProject,
    async handle({ caller }, request) {
      projectOf(caller, request)
      return { quota: NETWORK_QUOTAS }
    },
  })

  networkRoute(app, cloud, {
    method: 'GET',
    path: `${one}/details`,
    operation: 'network:read',
    params: OfProject,
    async handle({ caller }, request) {
      const projectId = projectOf(caller, request)
      const quotas = Object.entries(await readNetworkQuotas(db.read, projectId))
      const details = quotas.map(async ([resource, most]) => {
        const used = await countNetworkUse(db.read, projectId, resource)
        return [resource, { limit: most, used, reserved: 0 }] as const
      })
      return { quota: Object.fromEntries(await Promise.all(details)) }
    },
  })

  networkRoute(app, cloud, {
    method: 'PUT',
    path: one,
    operation: 'network:admin',
    params: OfProject,
    body: bodySchema(SHAPE),
    async handle({ caller, dialect }, request) {
      const projectId = projectOf(caller, request)
      const { given } = readEnvelope(request.body, SHAPE.singular)
      const change = readValues(given[0], SHAPE, dialect)
      return db.transaction(async (tx) => {
        for (const [resource, most] of Object.entries(change)) {
          const row = { projectId, resource, most: Number(most) }
          await tx
            .insertInto('networkQuotas')
            .values(row)
            .onConflict((conflict) => conflict.columns(['projectId', 'resource']).doUpdateSet({ most: row.most }))
            .execute()
        }
        return { quota: await readNetworkQuotas(tx, projectId) }
      })
    },
  })

  networkRoute(app, cloud, {
    method: 'DELETE',
    path: one,
    operation: 'network:admin',
    params: OfProject,
    async handle({ caller }, request, reply) {
      const projectId = projectOf(caller, request)
      await db.transaction((tx) => tx.deleteFrom('networkQuotas').where('projectId', '=', projectId).execute())
      return reply.code(204).send()
    },
  })
}

/** @throws ApiError PolicyNotAuthorized for another project's, except to admins. */
function projectOf({ projectId, isAdmin }: Caller, request: { params: unknown }): string {
  const { id } = request.params as { id: string }
  if (id === projectId || isAdmin) return id
  throw networkError('PolicyNotAuthorized', 'Only an admin sees quotas of other projects.')
}
