import type { Reader, Tx } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { SnapshotStatus } from '../db/volume-schema.ts'
import type { VolumeViewer } from './volume-store.ts'

export type Snapshot = Row<'volumeSnapshots'>

/** The snapshot as the caller may see it; undefined when there is none, or it is another project's. */
export async function findSnapshot(read: Reader, viewer: VolumeViewer, id: string): Promise<Snapshot | undefined> {
  return read
    .selectFrom('volumeSnapshots')
    .selectAll()
    .where('id', '=', id)
    .$if(!viewer.isAdmin, (own) => own.where('projectId', '=', viewer.projectId))
    .executeTakeFirst()
}

/** The snapshots of a volume, oldest first. */
export async function listSnapshotsOf(read: Reader, volumeId: string): Promise<Snapshot[]> {
  return read
    .selectFrom('volumeSnapshots')
    .selectAll()
    .where('volumeId', '=', volumeId)
    .orderBy('createdAt')
    .orderBy('id')
    .execute()
}

/** All snapshots of a project, or of all of them when it is null; newest first. */
export async function listSnapshots(read: Reader, { projectId }: { projectId: string | null }): Promise<Snapshot[]> {
  return read
    .selectFrom('volumeSnapshots')
    .selectAll()
    .$if(projectId !== null, (own) => own.where('projectId', '=', projectId ?? ''))
    .orderBy('createdAt', 'desc')
    .orderBy('id', 'desc')
    .execute()
}

export async function insertSnapshot(
  tx: Tx,
  snapshot: Omit<Snapshot, 'faultMessage' | 'createdAt' | 'updatedAt'>,
  now: number,
): Promise<void> {
  await tx
    .insertInto('volumeSnapshots')
    .values({ ...snapshot, faultMessage: null, createdAt: now, updatedAt: now })
    .execute()
}

/** Changes a snapshot whatever its status is. */
export async function updateSnapshot(tx: Tx, id: string, change: Partial<Snapshot>, now: number): Promise<void> {
  await tx
    .updateTable('volumeSnapshots')
    .set({ ...change, updatedAt: now })
    .where('id', '=', id)
    .execute()
}

/**
 * Changes a snapshot if it has one of these statuses still.
 * @returns whether it had.
 */
export async function swapSnapshot(
  tx: Tx,
  id: string,
  from: readonly SnapshotStatus[],
  change: Partial<Snapshot> & { status: SnapshotStatus },
  now: number,
): Promise<boolean> {
  const { numUpdatedRows } = await tx
    .updateTable('volumeSnapshots')
    .set({ ...change, updatedAt: now })
    .where('id', '=', id)
    .where('status', 'in', from)
    .executeTakeFirst()
  return numUpdatedRows > 0n
}
