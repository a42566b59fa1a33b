import type { Reader, Tx } from '../db/database.ts'
import { prepared } from '../db/prepared.ts'
import type { Row } from '../db/schema.ts'
import type { VolumeStatus } from '../db/volume-schema.ts'

export type BlockDevice = Row<'blockDevices'>

/** What a volume is while a server has it, unless another task of its own is under way. */
export const HELD: readonly VolumeStatus[] = ['reserved', 'attaching', 'in-use', 'detaching']

/** The disks of a server besides its image's, in the order of their device names. */
export async function listBlockDevices(read: Reader, serverId: string): Promise<BlockDevice[]> {
  const devices = await devicesOfOne(read, { serverId })
  return devices.sort((a, b) => compareNames(a.deviceName, b.deviceName))
}

const devicesOfOne = prepared((read, { serverId }: { serverId: string }) =>
  read.selectFrom('blockDevices').selectAll().where('serverId', '=', serverId),
)

/** A disk of a server as its guest can be told of it, by metadata for instance. */
export interface DeviceFact {
  /** `/dev/vdb`: a wish that the guest may not follow. */
  deviceName: string
  /** Null: the bus that the image's `hw_disk_bus` says, see busOf in disk-places.ts. */
  diskBus: BlockDevice['diskBus']
  deviceType: BlockDevice['deviceType']
  tag: string | null
  content: BlockDevice['content']
  bootIndex: number | null
  volumeId: string | null
  /** By which a guest finds the disk for sure. */
  serial: string
}

/**
 * What is to be told of a server's disks, besides its image's: for metadata's `devices` and `block-device-mapping`. In
 * the order of their device names.
 */
export async function listDeviceFacts(read: Reader, serverId: string): Promise<DeviceFact[]> {
  return (await listBlockDevices(read, serverId)).map((device) => {
    const { id, deviceName, diskBus, deviceType, tag, content, bootIndex, volumeId } = device
    const serial = (volumeId ?? id).slice(0, SERIAL_LETTERS)
    return { deviceName, diskBus, deviceType, tag, content, bootIndex, volumeId, serial }
  })
}

/** How much of an id guests see as a serial number; see src/host/qemu/disk-args.ts. */
const SERIAL_LETTERS = 20

/** The volumes of these servers, in one question: ids in the order of their device names, by server. */
export async function listVolumesOf(read: Reader, serverIds: readonly string[]): Promise<Map<string, string[]>> {
  const [first] = serverIds
  if (first === undefined) return new Map()
  const devices =
    serverIds.length === 1
      ? await devicesOfOne(read, { serverId: first })
      : await read
          .selectFrom('blockDevices')
          .selectAll()
          .where('serverId', 'in', serverIds)
          .where('volumeId', 'is not', null)
          .execute()
  devices.sort((a, b) => compareNames(a.deviceName, b.deviceName))
  const byServer = Map.groupBy(devices, ({ serverId }) => serverId)
  return new Map(
    [...byServer].map(([serverId, ones]) => [
      serverId,
      ones.flatMap(({ volumeId }) => (volumeId === null ? [] : [volumeId])),
    ]),
  )
}

/** The attachments of some volumes, of whatever project. */
export async function listAttachments(read: Reader, volumeIds: readonly string[]): Promise<BlockDevice[]> {
  if (volumeIds.length === 0) return []
  return read.selectFrom('blockDevices').selectAll().where('volumeId', 'in', volumeIds).execute()
}

/** `/dev/vdz` comes before `/dev/vdaa`. */
const compareNames = (a: string, b: string): number => a.length - b.length || (a < b ? -1 : a > b ? 1 : 0)

export async function insertBlockDevice(tx: Tx, device: BlockDevice): Promise<void> {
  await tx.insertInto('blockDevices').values(device).execute()
}

export async function updateBlockDevice(tx: Tx, id: string, change: Partial<BlockDevice>): Promise<void> {
  await tx.updateTable('blockDevices').set(change).where('id', '=', id).execute()
}

export async function deleteBlockDevice(tx: Tx, id: string): Promise<void> {
  await tx.deleteFrom('blockDevices').where('id', '=', id).execute()
}
