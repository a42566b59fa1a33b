import { type Asker, findOpenAction, supersedeAction } from '../actions/journal.ts'
import type { Cloud } from '../cloud.ts'
import type { Reader, Tx } from '../db/database.ts'
import { ApiError } from '../http/api-error.ts'
import { newId } from '../lib/ids.ts'
import { demandUncopied } from './copies.ts'
import { assertMetadataQuota } from './new-volume.ts'
import { findSnapshot, insertSnapshot, type Snapshot, updateSnapshot } from './snapshot-store.ts'
import { openAction } from './volume-action.ts'
import { assertVolumeQuota } from './volume-quotas.ts'
import { lockVolume, type Volume } from './volume-store.ts'
import { readTypeNames } from './volume-type-store.ts'

export interface SnapshotWish {
  name?: string | undefined
  description?: string | null | undefined
  metadata?: Record<string, string> | undefined
  /** Also of a volume that a guest has; without it that is refused. */
  isForced: boolean
}

/**
 * Accepts a snapshot of a volume that the caller may see: it belongs to the volume's project.
 * @throws ApiError badRequest for a volume in no state to be snapshot; overLimit (quota).
 */
export async function acceptNewSnapshot(
  cloud: Cloud,
  tx: Tx,
  asker: Asker,
  { id: volumeId }: Pick<Volume, 'id'>,
  wish: SnapshotWish,
): Promise<Snapshot> {
  const volume = await lockVolume(tx, volumeId)
  if (volume.status === 'in-use' && !wish.isForced) {
    throw new ApiError('badRequest', `Volume ${volumeId} is in-use; say 'force' to take a snapshot all the same.`)
  }
  if (volume.status !== 'available' && volume.status !== 'in-use') {
    throw new ApiError('badRequest', `Volume ${volumeId} must be available or in-use; it is ${volume.status}.`)
  }
  const metadata = wish.metadata ?? {}
  assertMetadataQuota(cloud, metadata)
  const typeName = (await readTypeNames(tx)).get(volume.typeId) ?? ''
  await assertVolumeQuota(cloud, tx, volume.projectId, { snapshots: 1, gigabytes: volume.sizeGib, typeName })
  const id = newId()
  const snapshot = {
    id,
    projectId: volume.projectId,
    userId: asker.userId,
    volumeId,
    name: wish.name ?? '',
    description: wish.description ?? null,
    sizeGib: volume.sizeGib,
    status: 'creating',
    metadata: JSON.stringify(metadata),
  } as const
  await insertSnapshot(tx, snapshot, cloud.clock.now())
  await openAction(cloud, tx, cloud.actions.createSnapshot, id, null, asker)
  return tx.selectFrom('volumeSnapshots').selectAll().where('id', '=', id).executeTakeFirstOrThrow()
}

/**
 * Accepts the delete of a snapshot that the caller may delete; asking again is nothing new.
 * @param isForced whatever its status is.
 * @throws ApiError badRequest while it is busy, or a volume is being made from it.
 */
export async function acceptDeleteSnapshot(
  cloud: Cloud,
  tx: Tx,
  asker: Asker,
  { id, volumeId }: Pick<Snapshot, 'id' | 'volumeId'>,
  isForced = false,
): Promise<void> {
  const volume = await lockVolume(tx, volumeId)
  const snapshot = await findSnapshot(tx, { projectId: '', isAdmin: true }, id)
  if (!snapshot) throw new ApiError('itemNotFound', `Snapshot ${id} could not be found.`)
  const open = await findOpenAction(tx, id)
  if (open?.name === cloud.actions.deleteSnapshot.name || volume.status === 'deleting') return
  await demandNotOfImage(tx, id)
  if (!isForced && snapshot.status === 'creating') {
    throw new ApiError('badRequest', `Snapshot ${id} must be available or in error to be deleted; it is creating.`)
  }
  if (volume.status === 'reverting') {
    throw new ApiError('badRequest', `Volume ${volumeId} is being reverted to a snapshot; try again later.`)
  }
  await demandUncopied(tx, { snapshotId: id })
  const now = cloud.clock.now()
  if (isForced) await supersedeAction(tx, id, now)
  await updateSnapshot(tx, id, { status: 'deleting' }, now)
  await openAction(cloud, tx, cloud.actions.deleteSnapshot, id, null, asker)
}

/**
 * Demands that no image of a server is being made of the snapshot: its server takes it, or gives it up, whatever others
 * say.
 * @throws ApiError conflictingRequest.
 */
export async function demandNotOfImage(read: Reader, snapshotId: string): Promise<void> {
  const action = await read
    .selectFrom('actions')
    .select('resourceId')
    .where('isOpen', '=', 1)
    .where('name', '=', 'createImage')
    .where('input', 'like', `%"snapshotId":"${snapshotId}"%`)
    .executeTakeFirst()
  if (!action) return
  throw new ApiError(
    'conflictingRequest',
    `An image of server ${action.resourceId} is being made of snapshot ${snapshotId}; try again later.`,
  )
}
