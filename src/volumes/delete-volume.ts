import type { Action } from '../actions/action.ts'
import { type Asker, acceptAction, findOpenAction, supersedeAction } from '../actions/journal.ts'
import type { Cloud } from '../cloud.ts'
import type { Tx } from '../db/database.ts'
import type { SnapshotStatus, VolumeStatus } from '../db/volume-schema.ts'
import { ApiError } from '../http/api-error.ts'
import { dropImage } from '../images/image-writer.ts'
import { demandUncopied, findCopy } from './copies.ts'
import { listSnapshotsOf, updateSnapshot } from './snapshot-store.ts'
import { COPY_DEADLINE_MS, failedAs, type VolumeParts, type VolumeSubject, volumeAction } from './volume-action.ts'
import { lockVolume, updateVolume } from './volume-store.ts'

export interface DeleteVolumeInput {
  /** An image that was being made of it when a forced delete took over; it goes too. */
  unfinishedImageId: string | null
}
type Step = 'removeSnapshots' | 'removeVolume'

/** How often it is looked whether a copy is done. */
const LOOK_EVERY_MS = 1_000

/**
 * Deletes a volume, whatever was half done with it, and those of its snapshots that are being deleted too.
 *
 *   removeSnapshots → removeVolume      gone; or error_deleting, to be deleted again
 *
 * One that goes with its server may still be copied: that ends first.
 */
export function deleteVolume(parts: VolumeParts): Action<DeleteVolumeInput, Step, VolumeSubject> {
  return volumeAction<DeleteVolumeInput, Step>(parts, {
    name: 'deleteVolume',
    first: 'removeSnapshots',
    // As long as what it waits for, and then its own time.
    deadlineMs: 2 * COPY_DEADLINE_MS,
    steps: {
      async removeSnapshots(subject) {
        const { volume } = subject
        if (await findCopy(parts.db.read, { volumeId: volume.id })) return { waitMs: LOOK_EVERY_MS }
        for (const { id } of await listSnapshotsOf(parts.db.read, volume.id)) await subject.host.removeSnapshot(id)
        return { go: 'removeVolume' }
      },
      async removeVolume(subject) {
        const { volume, input } = subject
        // No host was picked yet, or the failed create cleaned up: nothing is anywhere but in the database.
        if (volume.hostName !== null) await subject.host.removeVolume(volume.id)
        const dropped = input.unfinishedImageId === null ? null : await dropImage(parts, input.unfinishedImageId)
        return {
          done: true,
          async save(tx) {
            await dropped?.(tx)
            await tx.deleteFrom('volumeSnapshots').where('volumeId', '=', volume.id).execute()
            await tx.deleteFrom('volumes').where('id', '=', volume.id).execute()
          },
        }
      },
    },
    failed: ({ volume }, error) => ({
      done: true,
      async save(tx) {
        const now = parts.clock.now()
        for (const { id } of await listSnapshotsOf(tx, volume.id)) {
          await updateSnapshot(tx, id, { status: 'error_deleting', faultMessage: error.message }, now)
        }
        await failedAs(parts, volume.id, 'error_deleting', error)(tx)
      },
    }),
    abandoned: (tx, volumeId, error) => failedAs(parts, volumeId, 'error_deleting', error)(tx),
  })
}

export interface DeleteWish {
  /** With its snapshots. */
  isCascade: boolean
  /** Whatever its status is: admins only. */
  isForced: boolean
}

const DELETABLE: readonly VolumeStatus[] = ['available', 'error', 'error_deleting', 'error_extending']
const DELETABLE_SNAPSHOTS: readonly SnapshotStatus[] = ['available', 'error', 'error_deleting']

/**
 * Accepts the delete of a volume that the caller may delete; asking again is nothing new.
 * @throws ApiError badRequest while it is attached, busy, copied from, or has snapshots that would stay.
 */
export async function acceptDeleteVolume(
  cloud: Cloud,
  tx: Tx,
  asker: Asker,
  volumeId: string,
  { isCascade, isForced }: DeleteWish,
): Promise<void> {
  const volume = await lockVolume(tx, volumeId)
  const open = await findOpenAction(tx, volumeId)
  if (open?.name === cloud.actions.deleteVolume.name) return
  const device = await tx
    .selectFrom('blockDevices')
    .select('serverId')
    .where('volumeId', '=', volumeId)
    .executeTakeFirst()
  if (device) throw refuse(`Volume ${volumeId} is attached to server ${device.serverId}. Detach it first.`)
  if (!isForced && !DELETABLE.includes(volume.status)) {
    throw refuse(`Volume ${volumeId} must be ${DELETABLE.join(', ')} to be deleted; it is ${volume.status}.`)
  }
  if (open && !isForced) throw refuse(`Something else is being done with volume ${volumeId}; try again later.`)
  const snapshots = await listSnapshotsOf(tx, volumeId)
  if (snapshots.length > 0 && !isCascade) {
    throw refuse(`Volume ${volumeId} has ${snapshots.length} snapshots. Delete them first, or with it by cascade.`)
  }
  const busy = snapshots.find(({ status }) => !DELETABLE_SNAPSHOTS.includes(status))
  if (busy) throw refuse(`Snapshot ${busy.id} of volume ${volumeId} is ${busy.status}.`)
  await demandUncopied(tx, { volumeId })
  for (const { id } of snapshots) await demandUncopied(tx, { snapshotId: id })
  await openDeleteVolume(cloud, tx, asker, volumeId)
}

/**
 * Opens the delete of a volume without asking whether it may go, whatever was going on with it: for those who own it,
 * as a server does the volumes that go with it. Its snapshots go too. The row of its attachment must be gone by the end
 * of the transaction.
 */
export async function openDeleteVolume(cloud: Cloud, tx: Tx, asker: Asker, volumeId: string): Promise<void> {
  const now = cloud.clock.now()
  const open = await findOpenAction(tx, volumeId)
  const isUploading = open?.name === cloud.actions.uploadVolume.name
  const unfinishedImageId = isUploading ? (JSON.parse(open.input) as { imageId: string }).imageId : null
  await supersedeAction(tx, volumeId, now)
  await updateVolume(tx, volumeId, { status: 'deleting', statusBefore: null }, now)
  for (const { id } of await listSnapshotsOf(tx, volumeId)) {
    await supersedeAction(tx, id, now)
    await updateSnapshot(tx, id, { status: 'deleting' }, now)
  }
  await tx.deleteFrom('volumeTransfers').where('volumeId', '=', volumeId).execute()
  await acceptAction(tx, cloud.actions.deleteVolume, volumeId, { unfinishedImageId }, asker, now)
  tx.onCommit(() => cloud.runner.nudge())
}

const refuse = (message: string) => new ApiError('badRequest', message)
