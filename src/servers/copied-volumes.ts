/** Volumes that go with a server while other volumes are still being made from them. */
import { acceptAction } from '../actions/journal.ts'
import type { Tx } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { newId } from '../lib/ids.ts'
import { findCopy } from '../volumes/copies.ts'
import { deleteVolume } from '../volumes/delete-volume.ts'
import { lockVolume } from '../volumes/volume-store.ts'
import { deleteBlockDevice, listBlockDevices } from './block-device-store.ts'
import type { ActionParts } from './server-action.ts'
import { claimForRemoval } from './server-disks.ts'

/**
 * Each is deleted by an action of its own, which waits for the copies: neither do they fail, nor does the server wait.
 * The server's guest must be gone.
 */
export async function handOverCopied(parts: ActionParts, tx: Tx, server: Row<'servers'>): Promise<void> {
  const { projectId, userId } = server
  for (const { id, volumeId, isDeletedWithServer } of await listBlockDevices(tx, server.id)) {
    if (volumeId === null || isDeletedWithServer === 0) continue
    // Who begins a copy holds the volume too, and sees what is written here.
    await lockVolume(tx, volumeId)
    if (!(await findCopy(tx, { volumeId })) || !(await claimForRemoval(tx, volumeId, parts.clock.now()))) continue
    await deleteBlockDevice(tx, id)
    const asker = { projectId, userId, requestId: `req-${newId()}` }
    await acceptAction(tx, deleteVolume(parts), volumeId, { unfinishedImageId: null }, asker, parts.clock.now())
  }
}
