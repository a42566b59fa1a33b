import { extendVolume, resetVolume, uploadVolume } from './change-volume.ts'
import { createVolume } from './create-volume.ts'
import { deleteVolume } from './delete-volume.ts'
import { createSnapshot, deleteSnapshot } from './snapshot-actions.ts'
import type { VolumeParts } from './volume-action.ts'

/** All durable actions of volumes (on the volume's id) and of their snapshots (on the snapshot's). */
export function volumeActions(parts: VolumeParts) {
  return {
    createVolume: createVolume(parts),
    deleteVolume: deleteVolume(parts),
    extendVolume: extendVolume(parts),
    uploadVolume: uploadVolume(parts),
    revertVolume: resetVolume(parts, 'revertVolume'),
    reimageVolume: resetVolume(parts, 'reimageVolume'),
    createSnapshot: createSnapshot(parts),
    deleteSnapshot: deleteSnapshot(parts),
  }
}
export type VolumeActions = ReturnType<typeof volumeActions>
