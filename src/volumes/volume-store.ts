import type { Reader, Tx } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { VolumeStatus } from '../db/volume-schema.ts'
import { ApiError } from '../http/api-error.ts'

export type Volume = Row<'volumes'>

/** Who looks: volumes belong to one project; admins see all. */
export interface VolumeViewer {
  projectId: string
  isAdmin: boolean
}

/** The volume as the caller may see it; undefined when there is none, or it is another project's. */
export async function findVolume(read: Reader, viewer: VolumeViewer, id: string): Promise<Volume | undefined> {
  return read
    .selectFrom('volumes')
    .selectAll()
    .where('id', '=', id)
    .$if(!viewer.isAdmin, (own) => own.where('projectId', '=', viewer.projectId))
    .executeTakeFirst()
}

/** All volumes of a project, or of all of them when it is null; newest first. */
export async function listVolumes(read: Reader, { projectId }: { projectId: string | null }): Promise<Volume[]> {
  return read
    .selectFrom('volumes')
    .selectAll()
    .$if(projectId !== null, (own) => own.where('projectId', '=', projectId ?? ''))
    .orderBy('createdAt', 'desc')
    .orderBy('id', 'desc')
    .execute()
}

/** What whoever makes a volume decides; the rest follows. */
export type NewVolume = Pick<
  Volume,
  'id' | 'projectId' | 'userId' | 'name' | 'sizeGib' | 'typeId' | 'availabilityZone' | 'status'
> &
  Partial<Volume>

export async function insertVolume(tx: Tx, volume: NewVolume, now: number): Promise<void> {
  await tx
    .insertInto('volumes')
    .values({
      description: null,
      statusBefore: null,
      hostName: null,
      snapshotId: null,
      sourceVolumeId: null,
      imageId: null,
      isBootable: 0,
      isReadOnly: 0,
      metadata: '{}',
      imageMetadata: null,
      faultMessage: null,
      createdAt: now,
      updatedAt: now,
      ...volume,
    })
    .execute()
}

/**
 * Takes turns on a volume: until the transaction ends nobody else changes it.
 * @returns the row as it is by then.
 * @throws ApiError itemNotFound when it went meanwhile.
 */
export async function lockVolume(tx: Tx, id: string): Promise<Volume> {
  const volume = await tx
    .updateTable('volumes')
    .set((row) => ({ status: row.ref('status') }))
    .where('id', '=', id)
    .returningAll()
    .executeTakeFirst()
  if (volume) return volume
  throw new ApiError('itemNotFound', `Volume ${id} could not be found.`)
}

/** Changes a volume whatever its status is. */
export async function updateVolume(tx: Tx, id: string, change: Partial<Volume>, now: number): Promise<void> {
  await tx
    .updateTable('volumes')
    .set({ ...change, updatedAt: now })
    .where('id', '=', id)
    .execute()
}

/**
 * Changes a volume if it has one of these statuses still: of two who want it at once, one gets it.
 * @returns whether it had.
 */
export async function swapVolume(
  tx: Tx,
  id: string,
  from: readonly VolumeStatus[],
  change: Partial<Volume> & { status: VolumeStatus },
  now: number,
): Promise<boolean> {
  const { numUpdatedRows } = await tx
    .updateTable('volumes')
    .set({ ...change, updatedAt: now })
    .where('id', '=', id)
    .where('status', 'in', from)
    .executeTakeFirst()
  return numUpdatedRows > 0n
}
