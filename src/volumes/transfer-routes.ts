/**
 * Transfers: one project offers a volume, another that knows the key takes it, with its snapshots.
 *
 *   available → awaiting-transfer ──accept──► available, in the other project
 *                      └──────────delete──► available, as before
 * Source: shared/spec/neighbours.md §5; the samples of volume_transfers.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto'
import { Type } from 'typebox'
import type { Cloud } from '../cloud.ts'
import type { Reader } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { ApiError } from '../http/api-error.ts'
import type { App } from '../http/app.ts'
import { sendOnce } from '../http/once.ts'
import { timestampB } from '../http/timestamps.ts'
import { hashSecret, newId } from '../lib/ids.ts'
import { listSnapshotsOf } from './snapshot-store.ts'
import { type VolumeCall, volumeLinks, volumeRoute } from './volume-api.ts'
import { paged } from './volume-list.ts'
import { assertVolumeQuota } from './volume-quotas.ts'
import { scopeOf } from './volume-routes.ts'
import { Flag, isTrue, Name } from './volume-schema.ts'
import { findVolume, lockVolume, swapVolume, updateVolume } from './volume-store.ts'
import { readTypeNames } from './volume-type-store.ts'

type Transfer = Row<'volumeTransfers'>

const CreateTransferRequest = Type.Object({
  transfer: Type.Object({
    volume_id: Type.String({ maxLength: 255 }),
    name: Type.Optional(Type.Union([Name, Type.Null()])),
    no_snapshots: Type.Optional(Flag),
  }),
})
const AcceptTransferRequest = Type.Object({
  accept: Type.Object({ auth_key: Type.String({ maxLength: 255 }) }),
})

export function transferRoutes(app: App, cloud: Cloud): void {
  // The second one came with 3.55, and does the same.
  for (const path of ['/os-volume-transfer', '/volume-transfers']) {
    placeRoutes(app, cloud, path, path === '/volume-transfers' ? 55 : 0)
  }
}

function placeRoutes(app: App, cloud: Cloud, path: string, since: number): void {
  const { db } = cloud

  for (const isDetailed of [false, true]) {
    volumeRoute(app, cloud, {
      method: 'GET',
      path: isDetailed ? `${path}/detail` : path,
      operation: 'volumes:read',
      since,
      async handle(call) {
        const { rows } = paged(await listTransfers(db.read, scopeOf(call)), call, {
          id: ({ id }) => id,
          name: ({ name }) => name,
          created_at: ({ createdAt }) => createdAt,
        })
        return { transfers: rows.map((transfer) => (isDetailed ? fullView : briefView)(call, transfer)) }
      },
    })
  }

  volumeRoute(app, cloud, {
    method: 'GET',
    path: `${path}/:id`,
    operation: 'volumes:read',
    since,
    async handle(call) {
      const scope = { projectId: call.caller.isAdmin ? null : call.caller.projectId }
      const transfer = (await listTransfers(db.read, scope)).find(({ id }) => id === call.params.id)
      if (!transfer) throw noTransfer(call)
      return { transfer: fullView(call, transfer) }
    },
  })

  volumeRoute(app, cloud, {
    method: 'POST',
    path,
    operation: 'volumes:write',
    since,
    body: CreateTransferRequest,
    async handle(call) {
      const { caller, body, request, reply, now } = call
      return sendOnce(cloud, request, reply, 202, async (tx) => {
        const { volume_id, name, no_snapshots } = body.transfer
        const isBare = isTrue(no_snapshots)
        const volume = await findVolume(tx, caller, volume_id)
        if (!volume) throw new ApiError('itemNotFound', `Volume ${volume_id} could not be found.`)
        if (!(await swapVolume(tx, volume.id, ['available'], { status: 'awaiting-transfer' }, now))) {
          throw new ApiError('badRequest', `Volume ${volume.id} must be available; it is ${volume.status}.`)
        }
        // They lie with their volume, so they cannot stay behind.
        if (isBare && (await listSnapshotsOf(tx, volume.id)).length > 0) {
          throw new ApiError(
            'badRequest',
            `Volume ${volume.id} has snapshots, which would go with it. Delete them first.`,
          )
        }
        const key = randomBytes(8).toString('hex')
        const transfer: Transfer = {
          id: newId(),
          volumeId: volume.id,
          projectId: volume.projectId,
          name: name ?? '',
          keyHash: hashSecret(key),
          createdAt: now,
        }
        await tx.insertInto('volumeTransfers').values(transfer).execute()
        const said = call.version >= 55 ? { no_snapshots: isBare } : {}
        return { transfer: { ...fullView(call, transfer), ...said, auth_key: key } }
      })
    },
  })

  volumeRoute(app, cloud, {
    method: 'POST',
    path: `${path}/:id/accept`,
    operation: 'volumes:write',
    since,
    status: 202,
    body: AcceptTransferRequest,
    async handle(call) {
      const { caller, now } = call
      return db.transaction(async (tx) => {
        // Whoever knows the id may try the key: that is what transfers are for.
        const found = await readTransfer(tx, call.params.id ?? '')
        if (!found) throw noTransfer(call)
        const volume = await lockVolume(tx, found.volumeId)
        const transfer = await readTransfer(tx, found.id)
        if (!transfer || volume.status !== 'awaiting-transfer') throw noTransfer(call)
        if (!isKey(transfer, call.body.accept.auth_key)) {
          throw new ApiError('badRequest', `Invalid auth key for transfer ${transfer.id}.`)
        }
        const snapshots = await listSnapshotsOf(tx, volume.id)
        const gigabytes = [volume, ...snapshots].reduce((sum, { sizeGib }) => sum + sizeGib, 0)
        const typeName = (await readTypeNames(tx)).get(volume.typeId) ?? ''
        const demand = { volumes: 1, snapshots: snapshots.length, gigabytes, typeName }
        if (volume.projectId !== caller.projectId) await assertVolumeQuota(cloud, tx, caller.projectId, demand)
        const owner = { projectId: caller.projectId, userId: caller.userId }
        await updateVolume(tx, volume.id, { ...owner, status: 'available' }, now)
        await tx.updateTable('volumeSnapshots').set(owner).where('volumeId', '=', volume.id).execute()
        await tx.deleteFrom('volumeTransfers').where('id', '=', transfer.id).execute()
        return { transfer: briefView(call, transfer) }
      })
    },
  })

  volumeRoute(app, cloud, {
    method: 'DELETE',
    path: `${path}/:id`,
    operation: 'volumes:write',
    since,
    status: 202,
    async handle(call) {
      await db.transaction(async (tx) => {
        const transfer = await readTransfer(tx, call.params.id ?? '')
        if (!transfer || (!call.caller.isAdmin && transfer.projectId !== call.caller.projectId)) throw noTransfer(call)
        await tx.deleteFrom('volumeTransfers').where('id', '=', transfer.id).execute()
        await swapVolume(tx, transfer.volumeId, ['awaiting-transfer'], { status: 'available' }, call.now)
      })
    },
  })
}

const readTransfer = (read: Reader, id: string): Promise<Transfer | undefined> =>
  read.selectFrom('volumeTransfers').selectAll().where('id', '=', id).executeTakeFirst()

/** The transfers a project offers, or all when it is null; newest first. */
async function listTransfers(read: Reader, { projectId }: { projectId: string | null }): Promise<Transfer[]> {
  return read
    .selectFrom('volumeTransfers')
    .selectAll()
    .$if(projectId !== null, (own) => own.where('projectId', '=', projectId ?? ''))
    .orderBy('createdAt', 'desc')
    .orderBy('id', 'desc')
    .execute()
}

const isKey = ({ keyHash }: Transfer, key: string): boolean =>
  timingSafeEqual(Buffer.from(keyHash), Buffer.from(hashSecret(key)))

const noTransfer = ({ params }: VolumeCall) => new ApiError('itemNotFound', `Transfer ${params.id} could not be found.`)

const briefView = (call: VolumeCall, { id, name, volumeId }: Transfer) => ({
  id,
  name,
  volume_id: volumeId,
  links: volumeLinks(call, 'os-volume-transfer', id),
})

const fullView = (call: VolumeCall, transfer: Transfer) => ({
  ...briefView(call, transfer),
  created_at: timestampB(transfer.createdAt),
  ...(call.version >= 55 ? { no_snapshots: false } : {}),
  ...(call.version >= 57
    ? { source_project_id: transfer.projectId, destination_project_id: null, accepted: false }
    : {}),
})
