/** Quotas and limits of the volume service. Source: shared/spec/neighbours.md §5. */
import { Type } from 'typebox'
import type { Cloud } from '../cloud.ts'
import { ApiError } from '../http/api-error.ts'
import type { App } from '../http/app.ts'
import { readFlag, type VolumeCall, volumeRoute } from './volume-api.ts'
import { defaultVolumeQuotas, readVolumeQuotas, readVolumeUse, type VolumeFigures } from './volume-quotas.ts'
import { readTypeNames } from './volume-type-store.ts'

const QuotaRequest = Type.Object({
  quota_set: Type.Intersect([
    Type.Object({ tenant_id: Type.Optional(Type.String()), force: Type.Optional(Type.Boolean()) }),
    Type.Record(Type.String(), Type.Unknown()),
  ]),
})
const NO_LIMITS = new Set(['tenant_id', 'force'])

export function volumeQuotaRoutes(app: App, cloud: Cloud): void {
  const { db } = cloud
  const one = '/os-quota-sets/:id'

  volumeRoute(app, cloud, {
    method: 'GET',
    path: one,
    operation: 'volumes:read',
    async handle(call) {
      const projectId = projectOf(call)
      const quotas = await readVolumeQuotas(cloud, db.read, projectId)
      if (!readFlag(call.query, 'usage')) return { quota_set: { id: projectId, ...quotas } }
      const { inUse, reserved } = await readVolumeUse(db.read, projectId)
      const details = Object.entries(quotas).map(([name, limit]) => [
        name,
        { limit, in_use: inUse[name] ?? 0, reserved: reserved[name] ?? 0, allocated: 0 },
      ])
      return { quota_set: { id: projectId, ...Object.fromEntries(details) } }
    },
  })

  volumeRoute(app, cloud, {
    method: 'GET',
    path: `${one}/defaults`,
    operation: 'volumes:read',
    handle: async (call) => ({ quota_set: { id: projectOf(call), ...(await readDefaults(cloud)) } }),
  })

  volumeRoute(app, cloud, {
    method: 'PUT',
    path: one,
    operation: 'volumes:admin',
    body: QuotaRequest,
    async handle(call) {
      const projectId = projectOf(call)
      const known = await readDefaults(cloud)
      const change = Object.entries(call.body.quota_set)
        .filter(([name]) => !NO_LIMITS.has(name))
        .map(([name, most]) => [name, readLimit(known, name, most)] as const)
      return db.transaction(async (tx) => {
        for (const [resource, most] of change) {
          await tx
            .insertInto('volumeQuotas')
            .values({ projectId, resource, most })
            .onConflict((conflict) => conflict.columns(['projectId', 'resource']).doUpdateSet({ most }))
            .execute()
        }
        return { quota_set: await readVolumeQuotas(cloud, tx, projectId) }
      })
    },
  })

  volumeRoute(app, cloud, {
    method: 'DELETE',
    path: one,
    operation: 'volumes:admin',
    async handle(call) {
      const projectId = projectOf(call)
      await db.transaction((tx) => tx.deleteFrom('volumeQuotas').where('projectId', '=', projectId).execute())
      return call.reply.code(200).send()
    },
  })

  volumeRoute(app, cloud, {
    method: 'GET',
    path: '/os-quota-class-sets/:id',
    operation: 'volumes:admin',
    handle: async ({ params }) => ({ quota_class_set: { id: params.id, ...(await readDefaults(cloud)) } }),
  })

  volumeRoute(app, cloud, {
    method: 'GET',
    path: '/limits',
    operation: 'volumes:read',
    async handle({ caller }) {
      const quotas = await readVolumeQuotas(cloud, db.read, caller.projectId)
      const { inUse } = await readVolumeUse(db.read, caller.projectId)
      return {
        limits: {
          rate: [],
          absolute: {
            maxTotalVolumes: quotas.volumes,
            maxTotalSnapshots: quotas.snapshots,
            maxTotalVolumeGigabytes: quotas.gigabytes,
            maxTotalBackups: quotas.backups,
            maxTotalBackupGigabytes: quotas.backup_gigabytes,
            totalVolumesUsed: inUse.volumes,
            totalSnapshotsUsed: inUse.snapshots,
            totalGigabytesUsed: inUse.gigabytes,
            totalBackupsUsed: 0,
            totalBackupGigabytesUsed: 0,
          },
        },
      }
    },
  })
}

const readDefaults = async (cloud: Cloud): Promise<VolumeFigures> =>
  defaultVolumeQuotas(cloud, [...(await readTypeNames(cloud.db.read)).values()].sort())

function readLimit(known: VolumeFigures, name: string, most: unknown): number {
  if (!Object.hasOwn(known, name)) throw new ApiError('badRequest', `There is no quota of ${name}.`)
  const isDigits = typeof most === 'string' && /^(-1|\d{1,9})$/.test(most)
  const limit = isDigits || typeof most === 'number' ? Number(most) : Number.NaN
  if (Number.isInteger(limit) && limit >= -1 && limit <= 2_147_483_647) return limit
  throw new ApiError('badRequest', `The quota of ${name} must be a whole number from -1, which is no limit.`)
}

/** @throws ApiError forbidden for another project's, except to admins. */
function projectOf({ caller, params }: VolumeCall): string {
  const { id = '' } = params
  if (id === caller.projectId || caller.isAdmin) return id
  throw new ApiError('forbidden', 'Only an admin sees quotas of other projects.')
}
