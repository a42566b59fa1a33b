/** Turns the disks a create wishes for into rows: volumes are taken or made, and every disk gets its name. */
import type { Cloud } from '../cloud.ts'
import type { Tx } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { MOST_DISKS } from '../host/volume-host.ts'
import { ApiError } from '../http/api-error.ts'
import type { Caller } from '../http/policy.ts'
import { newId } from '../lib/ids.ts'
import { acceptNewVolume } from '../volumes/new-volume.ts'
import { findSnapshot } from '../volumes/snapshot-store.ts'
import { findVolume, swapVolume, type Volume } from '../volumes/volume-store.ts'
import { type BlockDevice, insertBlockDevice } from './block-device-store.ts'
import { asComputeVolumeError } from './compute-errors.ts'
import type { WishedDisk, WishedDisks, WishedLocalDisk, WishedNewVolume, WishedVolume } from './device-mapping.ts'
import { freeDeviceName, ROOT_DEVICE } from './device-names.ts'

/** The disks of a server that is about to be written. */
export interface TakenDisks {
  devices: Omit<BlockDevice, 'serverId'>[]
  /** What the server boots from, unless that is its image's disk. */
  root: Volume | undefined
}

type Flavor = Pick<Row<'flavors'>, 'name' | 'ephemeralGib' | 'swapMib'>

/**
 * Checks what can be checked once for all servers of a request, and adds what the flavor brings by itself.
 * @param count how many servers are wished for.
 * @throws ApiError badRequest for what the flavor does not allow, a name used twice, or one volume for several servers;
 * forbidden for too many disks.
 */
export function completeDisks({ bootsFromImage, disks }: WishedDisks, flavor: Flavor, count: number): WishedDisk[] {
  if (count > 1 && disks.some(({ kind }) => kind === 'volume')) {
    throw new ApiError(
      'badRequest',
      'One volume cannot be attached to several servers; wish for one server, or for new volumes.',
    )
  }
  const locals = sizedLocals(
    disks.filter((disk) => disk.kind === 'local'),
    flavor,
  )
  const rest = disks.filter((disk) => disk.kind !== 'local')
  // The root is named first, and volumes last, so that names without a wish are the same whatever the order.
  const all = [...rest.filter(isRoot), ...locals, ...rest.filter((disk) => !isRoot(disk))]
  if (all.length > MOST_DISKS) {
    throw new ApiError(
      'forbidden',
      `A server takes ${MOST_DISKS} disks besides its image's; ${all.length} were asked for.`,
    )
  }
  const names = all.flatMap((disk) => (disk.deviceName === undefined || isRoot(disk) ? [] : [disk.deviceName]))
  if (new Set([ROOT_DEVICE, ...names]).size <= names.length) {
    throw new ApiError('badRequest', `A device_name is used twice, or it is ${ROOT_DEVICE}, which is what boots.`)
  }
  const volumes = all.flatMap((disk) => (disk.kind === 'volume' ? [disk.volumeId] : []))
  if (new Set(volumes).size < volumes.length) throw new ApiError('badRequest', 'The same volume is named twice.')
  const root = all.find(isRoot)
  if (!bootsFromImage && !root) throw new ApiError('badRequest', 'There is nothing to boot from.')
  return all
}

const isRoot = ({ bootIndex }: WishedDisk): boolean => bootIndex === 0

/** Every local disk with its size: those wished for, else the flavor's. */
function sizedLocals(wished: WishedLocalDisk[], { name, ephemeralGib, swapMib }: Flavor): WishedLocalDisk[] {
  const byFlavor = (content: 'ext4' | 'swap', sizeMib: number): WishedLocalDisk[] => {
    const ones = wished.filter((disk) => disk.content === content)
    if (ones.length > 0) return ones.map((disk) => ({ ...disk, sizeMib: disk.sizeMib ?? sizeMib }))
    const common = {
      ...{ item: 'the flavor', deviceName: undefined, bootIndex: null, isDeletedWithServer: true, tag: null },
      ...{ diskBus: null, deviceType: 'disk' as const },
    }
    return sizeMib > 0 ? [{ ...common, kind: 'local', content, sizeMib }] : []
  }
  const fit = (what: string, ones: WishedLocalDisk[], most: number, unit: string, perUnit: number) => {
    const sum = ones.reduce((total, { sizeMib }) => total + (sizeMib ?? 0), 0)
    if (sum <= most * perUnit && ones.every(({ sizeMib }) => sizeMib !== 0)) return
    const message = `Flavor ${name} has ${most} ${unit} of ${what} disk; more cannot be asked for.`
    throw new ApiError('badRequest', message)
  }
  const ephemerals = byFlavor('ext4', ephemeralGib * 1024)
  fit('ephemeral', ephemerals, ephemeralGib, 'GiB', 1024)
  const swaps = byFlavor('swap', swapMib)
  fit('swap', swaps, swapMib, 'MiB', 1)
  return [...ephemerals, ...swaps]
}

/** What a server takes of its host's disk. */
export const claimedGibOf = (
  { imageId, diskGib }: Pick<Row<'servers'>, 'imageId' | 'diskGib'>,
  devices: readonly Pick<BlockDevice, 'volumeId' | 'sizeMib'>[],
): number => {
  const localMib = devices.reduce((total, { volumeId, sizeMib }) => total + (volumeId === null ? sizeMib : 0), 0)
  return (imageId === '' ? 0 : diskGib) + Math.ceil(localMib / 1024)
}

/**
 * Takes the volumes that exist for a server, and makes those that do not.
 * @param zone where the server is to be.
 * @throws ApiError badRequest for what is not there, not available, not bootable or elsewhere; forbidden for quota.
 */
export async function takeDisks(
  cloud: Cloud,
  tx: Tx,
  caller: Caller,
  disks: readonly WishedDisk[],
  { zone, ramMib, now }: { zone: string; ramMib: number; now: number },
): Promise<TakenDisks> {
  const names = new Set([ROOT_DEVICE, ...disks.flatMap(({ deviceName }) => deviceName ?? [])])
  const devices: TakenDisks['devices'] = []
  let root: Volume | undefined
  for (const disk of disks) {
    const deviceName = isRoot(disk) ? ROOT_DEVICE : (disk.deviceName ?? freeDeviceName(names))
    names.add(deviceName)
    const volume = await takeVolume(cloud, tx, caller, disk, zone, now)
    if (isRoot(disk)) root = volume
    devices.push({
      id: newId(),
      volumeId: volume?.id ?? null,
      content: disk.kind === 'local' ? disk.content : 'volume',
      sizeMib: disk.kind === 'local' ? (disk.sizeMib ?? 0) : 0,
      deviceName,
      bootIndex: disk.bootIndex,
      isDeletedWithServer: disk.isDeletedWithServer ? 1 : 0,
      isMadeForServer: disk.kind === 'newVolume' ? 1 : 0,
      status: 'attaching',
      tag: disk.tag,
      diskBus: disk.diskBus,
      deviceType: disk.deviceType,
      isReadOnly: disk.deviceType === 'cdrom' || volume?.isReadOnly === 1 ? 1 : 0,
      createdAt: now,
      attachedAt: null,
    })
  }
  if (root) checkRoot(root, ramMib)
  return { devices, root }
}

/** Gives the disks to the server, whose row is written by now. */
export async function giveDisks(tx: Tx, serverId: string, { devices }: TakenDisks): Promise<void> {
  for (const device of devices) await insertBlockDevice(tx, { ...device, serverId })
}

async function takeVolume(
  cloud: Cloud,
  tx: Tx,
  caller: Caller,
  disk: WishedDisk,
  zone: string,
  now: number,
): Promise<Volume | undefined> {
  switch (disk.kind) {
    case 'local':
      return undefined
    case 'volume':
      return takeExisting(tx, caller, disk, zone, now)
    case 'newVolume':
      return makeVolume(cloud, tx, caller, disk, zone)
  }
}

async function takeExisting(tx: Tx, caller: Caller, disk: WishedVolume, zone: string, now: number): Promise<Volume> {
  const { volumeId, item } = disk
  const volume = await findVolume(tx, { projectId: caller.projectId, isAdmin: false }, volumeId)
  if (!volume) throw new ApiError('badRequest', `${item}: volume ${volumeId} could not be found.`)
  if (volume.availabilityZone !== zone) {
    throw new ApiError(
      'badRequest',
      `${item}: volume ${volumeId} is in zone ${volume.availabilityZone}, the server in ${zone}.`,
    )
  }
  if (!(await swapVolume(tx, volumeId, ['available'], { status: 'attaching' }, now))) {
    throw new ApiError('badRequest', `${item}: volume ${volumeId} must be available; it is ${volume.status}.`)
  }
  // Until now others could change it, or give it away; what they did shows now.
  const taken = await findVolume(tx, { projectId: caller.projectId, isAdmin: false }, volumeId)
  if (!taken) throw new ApiError('badRequest', `${item}: volume ${volumeId} could not be found.`)
  return taken
}

async function makeVolume(
  cloud: Cloud,
  tx: Tx,
  caller: Caller,
  { source, sizeGib, type, item }: WishedNewVolume,
  availabilityZone: string,
): Promise<Volume> {
  try {
    if (source?.kind === 'snapshot' && !(await findSnapshot(tx, caller, source.snapshotId))) {
      throw new ApiError('badRequest', `Snapshot ${source.snapshotId} could not be found.`)
    }
    const status = source?.kind === 'image' ? 'downloading' : 'creating'
    return await acceptNewVolume(cloud, tx, caller, { source, sizeGib, type, availabilityZone }, { status })
  } catch (error) {
    throw asComputeVolumeError(error, item)
  }
}

/** @throws ApiError badRequest when nothing can boot from the volume, or it wants more memory. */
function checkRoot(volume: Volume, ramMib: number): void {
  if (!volume.isBootable) throw new ApiError('badRequest', `Block Device ${volume.id} is not bootable.`)
  const leastMib = Number(propertiesOf(volume).min_ram ?? 0)
  if (ramMib < leastMib) {
    throw new ApiError(
      'badRequest',
      `The flavor has too little memory for volume ${volume.id}: ${leastMib} MiB are needed.`,
    )
  }
}

/** Members of an image that a volume remembers beside the image's properties. */
const MEMBERS = ['image_id', 'image_name', 'checksum', 'container_format', 'disk_format', 'min_disk', 'min_ram', 'size']

const propertiesOf = ({ imageMetadata }: Volume): Record<string, string> =>
  imageMetadata === null ? {} : JSON.parse(imageMetadata)

/** What the image that the volume once was said about the machine: its free properties, as JSON. */
export function machinePropertiesOf(root: Volume): string {
  return JSON.stringify(
    Object.fromEntries(Object.entries(propertiesOf(root)).filter(([key]) => !MEMBERS.includes(key))),
  )
}
