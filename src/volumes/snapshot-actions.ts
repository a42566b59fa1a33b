/** The durable actions of volume snapshots. */
import type { Action } from '../actions/action.ts'
import type { Tx } from '../db/database.ts'
import type { SnapshotStatus } from '../db/volume-schema.ts'
import type { HostDriver } from '../host/host-driver.ts'
import { type Snapshot, updateSnapshot } from './snapshot-store.ts'
import { COPY_DEADLINE_MS, hostOf, type VolumeParts } from './volume-action.ts'

interface SnapshotSubject {
  snapshot: Snapshot
  hostName: string | null
  /** Where its volume lies. @throws HostError unreachable. */
  readonly host: HostDriver
}

const reader = (parts: VolumeParts) => async (snapshotId: string) => {
  const { read } = parts.db
  const snapshot = await read.selectFrom('volumeSnapshots').selectAll().where('id', '=', snapshotId).executeTakeFirst()
  if (!snapshot) return undefined
  const volume = await read
    .selectFrom('volumes')
    .select('hostName')
    .where('id', '=', snapshot.volumeId)
    .executeTakeFirst()
  const hostName = volume?.hostName ?? null
  return {
    snapshot,
    hostName,
    get host() {
      return hostOf(parts, hostName)
    },
  }
}

const endAs = (parts: VolumeParts, status: SnapshotStatus) => (tx: Tx, snapshotId: string, error: Error) =>
  updateSnapshot(tx, snapshotId, { status, faultMessage: error.message }, parts.clock.now())

/**
 * Keeps what a volume holds at one moment.
 *
 *   take `creating`       available
 *     └──→ cleanUp        error, and nothing left but the row
 */
export function createSnapshot(parts: VolumeParts): Action<null, 'take' | 'cleanUp', SnapshotSubject> {
  const { clock } = parts
  const endInError = endAs(parts, 'error')
  return {
    name: 'createSnapshot',
    first: 'take',
    deadlineMs: COPY_DEADLINE_MS,
    read: reader(parts),
    steps: {
      async take({ snapshot, host }) {
        await host.ensureSnapshot(snapshot.id, snapshot.volumeId)
        const change = { status: 'available', faultMessage: null } as const
        return { done: true, save: (tx) => updateSnapshot(tx, snapshot.id, change, clock.now()) }
      },
      async cleanUp({ snapshot, host }) {
        await host.removeSnapshot(snapshot.id)
        return { done: true, save: (tx) => updateSnapshot(tx, snapshot.id, { status: 'error' }, clock.now()) }
      },
    },
    failed: ({ snapshot }, error) => ({
      go: 'cleanUp',
      save: (tx) => updateSnapshot(tx, snapshot.id, { faultMessage: error.message }, clock.now()),
    }),
    abandoned: endInError,
  }
}

/**
 * Deletes a snapshot.
 *
 *   remove `deleting`      gone; or error_deleting, to be deleted again
 */
export function deleteSnapshot(parts: VolumeParts): Action<null, 'remove', SnapshotSubject> {
  const endInError = endAs(parts, 'error_deleting')
  return {
    name: 'deleteSnapshot',
    first: 'remove',
    deadlineMs: COPY_DEADLINE_MS,
    read: reader(parts),
    steps: {
      async remove(subject) {
        const { snapshot, hostName } = subject
        if (hostName !== null) await subject.host.removeSnapshot(snapshot.id)
        return {
          done: true,
          async save(tx) {
            await tx.deleteFrom('volumeSnapshots').where('id', '=', snapshot.id).execute()
          },
        }
      },
    },
    failed: ({ snapshot }, error) => ({ done: true, save: (tx) => endInError(tx, snapshot.id, error) }),
    abandoned: endInError,
  }
}
