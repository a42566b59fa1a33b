/** Volume snapshots. Source: shared/spec/neighbours.md §5, uos-volume-image.md. */
import { Type } from 'typebox'
import type { Cloud } from '../cloud.ts'
import type { Reader } from '../db/database.ts'
import type { SnapshotStatus } from '../db/volume-schema.ts'
import { ApiError } from '../http/api-error.ts'
import type { App } from '../http/app.ts'
import { sendOnce } from '../http/once.ts'
import { acceptDeleteSnapshot, acceptNewSnapshot, demandNotOfImage } from './new-snapshot.ts'
import { findSnapshot, listSnapshots, type Snapshot, updateSnapshot } from './snapshot-store.ts'
import { detailedSnapshotView, snapshotView, uosDetailedSnapshotView, uosSnapshotView } from './snapshot-view.ts'
import { demandNoAction } from './volume-action.ts'
import { readActionName } from './volume-action-row.ts'
import { readFlag, single, type VolumeCall, volumeRoute } from './volume-api.ts'
import { type Columns, filtered, paged, readMetadataFilter } from './volume-list.ts'
import { hasItems, scopeOf } from './volume-routes.ts'
import { CreateSnapshotRequest, isTrue, readNames, UpdateSnapshotRequest } from './volume-schema.ts'
import { findVolume } from './volume-store.ts'

const FILTERS: Columns<Snapshot> = {
  id: ({ id }) => id,
  name: ({ name }) => name,
  status: ({ status }) => status,
  volume_id: ({ volumeId }) => volumeId,
  user_id: ({ userId }) => userId,
}
const SORTS: Columns<Snapshot> = {
  ...FILTERS,
  created_at: ({ createdAt }) => createdAt,
  updated_at: ({ updatedAt }) => updatedAt,
  size: ({ sizeGib }) => sizeGib,
  volume_size: ({ sizeGib }) => sizeGib,
  project_id: ({ projectId }) => projectId,
}

const briefOf = ({ dialect }: VolumeCall) => (dialect === 'uos' ? uosSnapshotView : snapshotView)
const fullOf = ({ dialect }: VolumeCall) => (dialect === 'uos' ? uosDetailedSnapshotView : detailedSnapshotView)

export function snapshotRoutes(app: App, cloud: Cloud): void {
  const { db } = cloud

  for (const isDetailed of [false, true]) {
    volumeRoute(app, cloud, {
      method: 'GET',
      path: isDetailed ? '/snapshots/detail' : '/snapshots',
      operation: 'volumes:read',
      isUos: true,
      async handle(call) {
        const metadata = single(call.query, 'metadata')
        const items = metadata === undefined ? [] : Object.entries(readMetadataFilter(metadata))
        const found = filtered(await listSnapshots(db.read, scopeOf(call)), call.query, FILTERS)
        const { rows, count, links } = paged(
          found.filter((snapshot) => hasItems(snapshot.metadata, items)),
          call,
          SORTS,
        )
        const view = isDetailed ? fullOf(call) : briefOf(call)
        return {
          snapshots: rows.map((snapshot) => view(call, snapshot)),
          ...(links ? { snapshots_links: links } : {}),
          ...(call.version >= 45 && call.dialect === 'cinder' && readFlag(call.query, 'with_count') ? { count } : {}),
        }
      },
    })
  }

  volumeRoute(app, cloud, {
    method: 'GET',
    path: '/snapshots/:id',
    operation: 'volumes:read',
    isUos: true,
    handle: async (call) => ({ snapshot: fullOf(call)(call, await getSnapshot(db.read, call)) }),
  })

  volumeRoute(app, cloud, {
    method: 'POST',
    path: '/snapshots',
    operation: 'volumes:write',
    isUos: true,
    body: CreateSnapshotRequest,
    async handle(call) {
      const { caller, body, dialect, version, request, reply } = call
      const wish = body.snapshot
      const isForced = isTrue(wish.force)
      // From 3.66 on nobody has to say it, and nobody may deny it.
      const needsForce = dialect === 'cinder' && version < 66
      if (!needsForce && dialect === 'cinder' && wish.force !== undefined && wish.force !== null && !isForced) {
        throw new ApiError('badRequest', "Invalid value for 'force': since 3.66 it is always true.")
      }
      return sendOnce(cloud, request, reply, dialect === 'uos' ? 200 : 202, async (tx) => {
        const volume = await findVolume(tx, caller, wish.volume_id)
        if (!volume) throw new ApiError('itemNotFound', `Volume ${wish.volume_id} could not be found.`)
        const { name, description } = readNames(wish)
        const made = await acceptNewSnapshot(cloud, tx, caller, volume, {
          name,
          description,
          metadata: wish.metadata ?? undefined,
          isForced: isForced || !needsForce,
        })
        return { snapshot: briefOf(call)(call, made) }
      })
    },
  })

  volumeRoute(app, cloud, {
    method: 'PUT',
    path: '/snapshots/:id',
    operation: 'volumes:write',
    isUos: true,
    body: UpdateSnapshotRequest,
    async handle(call) {
      const { name, description } = readNames(call.body.snapshot)
      const change = { ...(name === undefined ? {} : { name }), ...(description === undefined ? {} : { description }) }
      const snapshot = await db.transaction(async (tx) => {
        const { id } = await getSnapshot(tx, call)
        await updateSnapshot(tx, id, change, call.now)
        return getSnapshot(tx, call)
      })
      return { snapshot: briefOf(call)(call, snapshot) }
    },
  })

  volumeRoute(app, cloud, {
    method: 'DELETE',
    path: '/snapshots/:id',
    operation: 'volumes:write',
    isUos: true,
    status: 202,
    async handle(call) {
      await db.transaction(async (tx) => acceptDeleteSnapshot(cloud, tx, call.caller, await getSnapshot(tx, call)))
    },
  })

  volumeRoute(app, cloud, {
    method: 'POST',
    path: '/snapshots/:id/action',
    operation: 'volumes:write',
    status: 202,
    body: Type.Record(Type.String(), Type.Unknown()),
    async handle(call) {
      const name = readActionName(call.body)
      if (!['os-reset_status', 'os-update_snapshot_status', 'os-force_delete'].includes(name)) {
        throw new ApiError('badRequest', `There is no such action: ${name}.`)
      }
      if (!call.caller.isAdmin) throw new ApiError('forbidden', `Only an admin may ask for ${name}.`)
      await db.transaction(async (tx) => {
        const snapshot = await getSnapshot(tx, call)
        if (name === 'os-force_delete') return acceptDeleteSnapshot(cloud, tx, call.caller, snapshot, true)
        const status = readStatus(call.body[name])
        await demandNotOfImage(tx, snapshot.id)
        if (status === 'available') await demandNoAction(tx, snapshot.id)
        await updateSnapshot(tx, snapshot.id, { status }, call.now)
      })
    },
  })
}

const STATUSES: readonly SnapshotStatus[] = ['creating', 'available', 'deleting', 'error', 'error_deleting']

function readStatus(given: unknown): SnapshotStatus {
  const wished = (given as { status?: unknown } | null | undefined)?.status
  const status = STATUSES.find((one) => one === wished)
  if (status) return status
  throw new ApiError('badRequest', `status must be one of ${STATUSES.join(', ')}.`)
}

/**
 * The snapshot that the path names.
 * @throws ApiError itemNotFound, for another project's as for none at all.
 */
export async function getSnapshot(
  read: Reader,
  { caller, params }: Pick<VolumeCall, 'caller' | 'params'>,
): Promise<Snapshot> {
  const snapshot = await findSnapshot(read, caller, params.id ?? '')
  if (snapshot) return snapshot
  throw new ApiError('itemNotFound', `Snapshot ${params.id} could not be found.`)
}
