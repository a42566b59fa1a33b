/**
 * The volumes of a server from both sides: `blockDevices` says whose they are, and `volumes` shows it. Both are written
 * together, here and only here.
 *
 *   available ─► attaching ─► in-use ─► detaching ─► available      (or deleting ─► gone, with its server)
 */
import type { Cloud } from '../cloud.ts'
import type { Reader, Tx } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { HostError } from '../host/host-driver.ts'
import type { ServerDisk } from '../host/volume-host.ts'
import { hardwareOf } from '../images/hardware-of.ts'
import { listSnapshotsOf } from '../volumes/snapshot-store.ts'
import { lockVolume, swapVolume, updateVolume, type Volume } from '../volumes/volume-store.ts'
import { type BlockDevice, deleteBlockDevice, HELD, listBlockDevices, updateBlockDevice } from './block-device-store.ts'
import { busOf } from './disk-places.ts'

/** How the host must give it to the guest. A disk boots only where the server has no image. */
export const diskPlanOf = (
  { imageId, imageProperties }: Pick<Row<'servers'>, 'imageId' | 'imageProperties'>,
  device: BlockDevice,
): ServerDisk => ({
  diskId: device.volumeId ?? device.id,
  kind: device.volumeId === null ? 'local' : 'volume',
  device: device.deviceName.replace('/dev/', ''),
  bootIndex: imageId === '' ? device.bootIndex : null,
  bus: busOf(hardwareOf(JSON.parse(imageProperties)), device),
  ...(device.deviceType === 'cdrom' ? { isCd: true } : {}),
  ...(device.isReadOnly === 1 ? { isReadOnly: true } : {}),
})

/** The disk that a server without an image boots from. */
export function rootDeviceOf(
  { imageId }: Pick<Row<'servers'>, 'imageId'>,
  devices: readonly BlockDevice[],
): BlockDevice | undefined {
  return imageId === '' ? devices.find(({ bootIndex }) => bootIndex === 0) : undefined
}

/** Every disk is the server's from now on: its guest has them, or gets them when it starts. */
export async function settleDisks(tx: Tx, serverId: string, now: number): Promise<void> {
  for (const device of await listBlockDevices(tx, serverId)) {
    if (device.status === 'attached') continue
    await updateBlockDevice(tx, device.id, { status: 'attached', attachedAt: device.attachedAt ?? now })
    if (device.volumeId === null) continue
    // Those made for the server were being made until now.
    await swapVolume(tx, device.volumeId, [...HELD, 'creating', 'downloading'], { status: 'in-use' }, now)
  }
}

/** Nobody has the volume open any more: others may have it. */
export async function freeVolume(tx: Tx, device: BlockDevice, now: number): Promise<void> {
  // A task of the volume that ends right now looks at the attachment: one of the two comes first.
  if (device.volumeId !== null) await lockVolume(tx, device.volumeId)
  await deleteBlockDevice(tx, device.id)
  if (device.volumeId === null) return
  if (await swapVolume(tx, device.volumeId, HELD, { status: 'available', statusBefore: null }, now)) return
  // A task of its own is under way, and ends where the volume is now.
  await tx
    .updateTable('volumes')
    .set({ statusBefore: 'available', updatedAt: now })
    .where('id', '=', device.volumeId)
    .where('statusBefore', 'in', HELD)
    .execute()
}

/**
 * The server's guest is gone for good: its volumes are free, but those that go with it are `deleting` from now on.
 * One that has snapshots, or is in the middle of something of its own, stays.
 * @param goes besides those that were never ready.
 */
export async function partFromDisks(
  tx: Tx,
  serverId: string,
  goes: (device: BlockDevice) => boolean,
  now: number,
): Promise<void> {
  for (const device of await listBlockDevices(tx, serverId)) {
    if (device.volumeId === null) continue
    const wasNeverReady = device.isMadeForServer === 1 && device.status !== 'attached'
    if ((wasNeverReady || goes(device)) && (await claimForRemoval(tx, device.volumeId, now))) continue
    await freeVolume(tx, device, now)
  }
}

/** Makes a volume that may go `deleting`; whether it may. */
export async function claimForRemoval(tx: Tx, volumeId: string, now: number): Promise<boolean> {
  await lockVolume(tx, volumeId)
  if ((await listSnapshotsOf(tx, volumeId)).length > 0) return false
  const from = [...HELD, 'creating', 'downloading', 'error', 'deleting'] as const
  return swapVolume(tx, volumeId, from, { status: 'deleting', statusBefore: null }, now)
}

/** The volumes that go with the server. */
async function listDoomed(read: Reader, serverId: string): Promise<Volume[]> {
  return read
    .selectFrom('volumes')
    .innerJoin('blockDevices', 'blockDevices.volumeId', 'volumes.id')
    .selectAll('volumes')
    .where('blockDevices.serverId', '=', serverId)
    .where('volumes.status', '=', 'deleting')
    .execute()
}

/** Removes the bytes of the volumes that go with the server. @throws HostError unreachable. */
export async function removeDoomed({ db, hosts }: Pick<Cloud, 'db' | 'hosts'>, serverId: string): Promise<void> {
  for (const { id, hostName } of await listDoomed(db.read, serverId)) {
    // Without a host nobody began to make it.
    if (hostName === null) continue
    const host = hosts.get(hostName)
    if (!host) throw new HostError('unreachable', `Host ${hostName} cannot be reached.`)
    await host.removeVolume(id)
  }
}

/** The server has no disks any more, and volumes that went with it are gone. */
export async function forgetDisks(tx: Tx, serverId: string): Promise<void> {
  const doomed = await listDoomed(tx, serverId)
  await tx.deleteFrom('blockDevices').where('serverId', '=', serverId).execute()
  for (const { id } of doomed) await tx.deleteFrom('volumes').where('id', '=', id).execute()
}

/** Where the volumes made for a server are to lie: written down before the first byte, so that none is lost. */
export async function placeNewVolumes(
  tx: Tx,
  devices: readonly BlockDevice[],
  hostName: string,
  now: number,
): Promise<void> {
  for (const { volumeId, isMadeForServer } of devices) {
    if (volumeId !== null && isMadeForServer) await updateVolume(tx, volumeId, { hostName }, now)
  }
}

/** The hosts that the volumes of a server lie on: it can only be there. */
export async function listHostsOf(read: Reader, devices: readonly BlockDevice[]): Promise<string[]> {
  const ids = devices.flatMap(({ volumeId, isMadeForServer }) =>
    volumeId === null || isMadeForServer ? [] : [volumeId],
  )
  if (ids.length === 0) return []
  const rows = await read.selectFrom('volumes').select('hostName').where('id', 'in', ids).execute()
  return [...new Set(rows.flatMap(({ hostName }) => hostName ?? []))]
}
