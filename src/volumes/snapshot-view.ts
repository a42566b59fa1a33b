import { timestampB } from '../http/timestamps.ts'
import type { Snapshot } from './snapshot-store.ts'
import type { VolumeCall } from './volume-api.ts'

/** As Cinder answers to a create or an update, and in its brief list. */
export const snapshotView = ({ version }: Pick<VolumeCall, 'version'>, snapshot: Snapshot) => ({
  id: snapshot.id,
  name: snapshot.name === '' ? null : snapshot.name,
  description: snapshot.description,
  volume_id: snapshot.volumeId,
  status: snapshot.status,
  size: snapshot.sizeGib,
  metadata: JSON.parse(snapshot.metadata) as Record<string, string>,
  created_at: timestampB(snapshot.createdAt),
  updated_at: snapshot.updatedAt === snapshot.createdAt ? null : timestampB(snapshot.updatedAt),
  ...(version >= 14 ? { group_snapshot_id: null } : {}),
  ...(version >= 41 ? { user_id: snapshot.userId } : {}),
  ...(version >= 65 ? { consumes_quota: true } : {}),
})

const EXTENDED = (snapshot: Snapshot) => ({
  'os-extended-snapshot-attributes:progress': snapshot.status === 'available' ? '100%' : '0%',
  'os-extended-snapshot-attributes:project_id': snapshot.projectId,
})

/** As Cinder shows it in detail. */
export const detailedSnapshotView = (call: Pick<VolumeCall, 'version'>, snapshot: Snapshot) => ({
  ...snapshotView(call, snapshot),
  ...EXTENDED(snapshot),
})

/** As UOS shows it. */
export const uosSnapshotView = (_: unknown, snapshot: Snapshot) => ({
  id: snapshot.id,
  name: snapshot.name === '' ? null : snapshot.name,
  description: snapshot.description,
  status: snapshot.status,
  created_at: timestampB(snapshot.createdAt),
  volume_id: snapshot.volumeId,
  size: snapshot.sizeGib,
})

/** As UOS shows it in detail. */
export const uosDetailedSnapshotView = (call: unknown, snapshot: Snapshot) => ({
  ...uosSnapshotView(call, snapshot),
  metadata: JSON.parse(snapshot.metadata) as Record<string, string>,
  ...EXTENDED(snapshot),
})
