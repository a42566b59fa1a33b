/**
 * Images of servers that boot from a volume: a snapshot of every volume the server has, and an image without bytes that
 * says which disk is made from which of them.
 *
 *   accepted: image `queued`, snapshots `creating` ─► taken one after another ─► image `active`, snapshots `available`
 *                                                        └── fails ──► snapshots and image go
 *
 * Nothing ties them together afterwards: an image that is deleted leaves its snapshots.
 * Source: nova/compute/api.py, snapshot_volume_backed.
 */
import type { Save } from '../actions/action.ts'
import type { Cloud } from '../cloud.ts'
import type { Reader, Tx } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { HostError } from '../host/host-driver.ts'
import { ApiError } from '../http/api-error.ts'
import type { Caller } from '../http/policy.ts'
import { IMAGE_MAPPING } from '../images/image-store.ts'
import { newId } from '../lib/ids.ts'
import { insertSnapshot, swapSnapshot } from '../volumes/snapshot-store.ts'
import { assertVolumeQuota } from '../volumes/volume-quotas.ts'
import { lockVolume } from '../volumes/volume-store.ts'
import { readTypeNames } from '../volumes/volume-type-store.ts'
import { type BlockDevice, listBlockDevices } from './block-device-store.ts'
import { asComputeVolumeError } from './compute-errors.ts'
import type { ActionParts, ServerSubject } from './server-action.ts'
import type { SnapshotInput } from './unfinished-images.ts'

const LONGEST_NAME = 255
/** Of no bytes at all; hex. */
const EMPTY_MD5 = 'd41d8cd98f00b204e9800998ecf8427e'
const EMPTY_SHA512 =
  'cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e'

/**
 * Writes the snapshots of a server's volumes, `creating`, and notes them in its open action.
 * @param imageName which they are named after.
 * @returns the properties by which an image says that servers are to be made from them.
 * @throws ApiError forbidden for quota; conflictingRequest for a volume that something else is being done with.
 */
export async function acceptVolumeSnapshots(
  cloud: Pick<Cloud, 'config' | 'clock'>,
  tx: Tx,
  caller: Caller,
  server: Row<'servers'>,
  image: { imageId: string; name: string },
): Promise<Record<string, string>> {
  const devices = await listBlockDevices(tx, server.id)
  const snapshots: NonNullable<SnapshotInput['snapshots']> = []
  const items: object[] = []
  for (const device of devices) {
    if (device.volumeId === null) {
      items.push(localItem(device))
      continue
    }
    const snapshot = await writeSnapshot(cloud, tx, caller, device.volumeId, image.name)
    snapshots.push({ snapshotId: snapshot.id, volumeId: device.volumeId })
    items.push(volumeItem(device, snapshot))
  }
  const input: SnapshotInput = { imageId: image.imageId, rotation: null, snapshots }
  await tx
    .updateTable('actions')
    .set({ input: JSON.stringify(input) })
    .where('resourceId', '=', server.id)
    .where('isOpen', '=', 1)
    .execute()
  const root = devices.find(({ bootIndex }) => bootIndex === 0)
  return {
    [IMAGE_MAPPING]: JSON.stringify(items),
    bdm_v2: 'True',
    ...(root ? { root_device_name: root.deviceName } : {}),
  }
}

async function writeSnapshot(
  cloud: Pick<Cloud, 'config' | 'clock'>,
  tx: Tx,
  caller: Caller,
  volumeId: string,
  imageName: string,
): Promise<{ id: string; sizeGib: number }> {
  const { status, projectId, typeId, sizeGib, description } = await lockVolume(tx, volumeId)
  if (status !== 'in-use') {
    throw new ApiError('conflictingRequest', `Volume ${volumeId} is ${status}; ask again when it is in-use.`)
  }
  const typeName = (await readTypeNames(tx)).get(typeId) ?? ''
  const demand = { snapshots: 1, gigabytes: sizeGib, typeName }
  await assertVolumeQuota(cloud, tx, projectId, demand).catch((error: unknown) => {
    throw asComputeVolumeError(error, 'createImage')
  })
  const id = newId()
  const name = `snapshot for ${imageName}`.slice(0, LONGEST_NAME)
  const { userId } = caller
  const snapshot = { id, projectId, userId, volumeId, name, description, sizeGib, status: 'creating', metadata: '{}' }
  await insertSnapshot(tx, { ...snapshot, status: 'creating' }, cloud.clock.now())
  return { id, sizeGib }
}

/** What all items of the mapping say. */
const commonOf = ({ deviceName, bootIndex, isDeletedWithServer, tag, diskBus, deviceType }: BlockDevice) => ({
  boot_index: bootIndex,
  device_name: deviceName,
  delete_on_termination: isDeletedWithServer === 1,
  device_type: deviceType,
  disk_bus: diskBus,
  tag,
})

const volumeItem = (device: BlockDevice, { id, sizeGib }: { id: string; sizeGib: number }): object => ({
  ...commonOf(device),
  source_type: 'snapshot',
  destination_type: 'volume',
  snapshot_id: id,
  volume_size: sizeGib,
})

/** A disk of the server's own: another one as large, empty. */
const localItem = (device: BlockDevice): object => ({
  ...commonOf(device),
  source_type: 'blank',
  destination_type: 'local',
  guest_format: device.content === 'swap' ? 'swap' : 'ext4',
  volume_size: device.content === 'swap' ? device.sizeMib : Math.ceil(device.sizeMib / 1024),
})

/**
 * Takes the snapshots, each frozen by the guest's agent where there is one. May be done again.
 * @returns what to save: the image is active then.
 * @throws HostError `noSpace`, `noDisk`.
 */
export async function takeSnapshots(
  { clock }: Pick<ActionParts, 'clock'>,
  { host }: Pick<ServerSubject, 'host'>,
  { imageId, snapshots = [] }: SnapshotInput,
): Promise<Save> {
  for (const { snapshotId, volumeId } of snapshots) await host.ensureSnapshot(snapshotId, volumeId)
  return async (tx) => {
    const now = clock.now()
    for (const { snapshotId } of snapshots) {
      await swapSnapshot(tx, snapshotId, ['creating'], { status: 'available', faultMessage: null }, now)
    }
    const bytes = { sizeBytes: 0, virtualSizeBytes: null, checksum: EMPTY_MD5 }
    const hash = { hashAlgorithm: 'sha512', hashValue: EMPTY_SHA512 }
    await tx
      .updateTable('images')
      .set({ status: 'active', ...bytes, ...hash, updatedAt: now })
      .where('id', '=', imageId)
      .execute()
  }
}

/**
 * Makes snapshots gone that were to be of an image. May be done again.
 * @param hostName where their volumes lie.
 * @returns what to save: their rows go.
 * @throws HostError `unreachable`.
 */
export async function dropSnapshots(
  { hosts }: Pick<ActionParts, 'hosts'>,
  hostName: string | null,
  { snapshots = [] }: SnapshotInput,
): Promise<Save> {
  const host = hostName === null ? undefined : hosts.get(hostName)
  if (!host) throw new HostError('unreachable', `Host ${hostName ?? '(none)'} cannot be reached.`)
  for (const { snapshotId } of snapshots) await host.removeSnapshot(snapshotId)
  return async (tx) => {
    for (const { snapshotId } of snapshots) {
      await tx.deleteFrom('volumeSnapshots').where('id', '=', snapshotId).execute()
    }
  }
}

/**
 * Makes the snapshots gone that an action had begun which a delete of the server took over.
 * @returns what to save: their rows go.
 */
export async function dropUnfinishedSnapshots(
  parts: Pick<ActionParts, 'db' | 'hosts'>,
  { id, hostName }: Pick<Row<'servers'>, 'id' | 'hostName'>,
): Promise<Save> {
  const snapshots = await listUnfinished(parts.db.read, id)
  if (snapshots.length === 0) return async () => {}
  return dropSnapshots(parts, hostName, { imageId: '', rotation: null, snapshots })
}

/** Their host does not answer: the rows stay, for users to delete. */
export async function giveUpSnapshots(
  tx: Tx,
  { clock }: Pick<ActionParts, 'clock'>,
  serverId: string,
  error: Error,
): Promise<void> {
  for (const { snapshotId } of await listUnfinished(tx, serverId)) {
    await swapSnapshot(tx, snapshotId, ['creating'], { status: 'error', faultMessage: error.message }, clock.now())
  }
}

/** Snapshots that images of the server began, and that are not done. */
async function listUnfinished(read: Reader, serverId: string): Promise<NonNullable<SnapshotInput['snapshots']>> {
  const actions = await read
    .selectFrom('actions')
    .select('input')
    .where('resourceId', '=', serverId)
    .where('name', '=', 'createImage')
    .where('input', 'like', '%"snapshotId"%')
    .execute()
  const all = actions.flatMap(({ input }) => (JSON.parse(input) as SnapshotInput).snapshots ?? [])
  if (all.length === 0) return []
  const rows = await read
    .selectFrom('volumeSnapshots')
    .select('id')
    .where(
      'id',
      'in',
      all.map(({ snapshotId }) => snapshotId),
    )
    .where('status', '=', 'creating')
    .execute()
  const unfinished = new Set(rows.map(({ id }) => id))
  return all.filter(({ snapshotId }) => unfinished.has(snapshotId))
}
