/**
 * Disks that come and go while a guest runs.
 *
 *   plug     (leftover node goes) → node opens the files → device
 *   unplug   device asked for, and given up by the guest → node goes → its process has the file open no more
 */
import { readdirSync, statSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { HostError } from '../host-driver.ts'
import { MOST_DISKS, type ServerDisk } from '../volume-host.ts'
import type { StoredVolume } from '../volumes/volume-backend.ts'
import { DISK_DEVICE_PREFIX, diskDevice, diskIds, diskNode, isReadOnly } from './disk-args.ts'
import type { Guest } from './guest.ts'
import { type Device, findFreePort, readDevices, removeDevice } from './guest-devices.ts'
import { type DiskPlace, SCSI_CONTROLLER, scsiPlace } from './machine-args.ts'
import { DISK_PORTS } from './qemu-args.ts'
import { QmpError, readObjects } from './qmp-client.ts'

/** How long QEMU may take to let go of the files of a device that is gone: its last references go a moment later. */
const CLOSE_MS = 2_000
const LOOK_EVERY_MS = 20

/** Whether the guest has the disk already. */
export async function hasDisk(guest: Guest, diskId: string): Promise<boolean> {
  const { device } = diskIds(diskId)
  return (await readDevices(guest)).some(({ name }) => name === device)
}

/**
 * Gives a guest that runs a disk it does not have. Its user may open the files.
 * @throws HostError `startFailed` when it takes no more; QmpError, Error of a monitor that does not answer.
 */
export async function plugDisk(guest: Guest, disk: ServerDisk, stored: StoredVolume): Promise<void> {
  const devices = await readDevices(guest)
  const { diskId } = disk
  const { node } = diskIds(diskId)
  const place = await findPlace(guest, devices, disk)
  if (place === undefined || devices.filter(({ name }) => name.startsWith(DISK_DEVICE_PREFIX)).length >= MOST_DISKS) {
    throw new HostError('startFailed', `The server takes no more disks: it has ${MOST_DISKS} at most.`)
  }
  await removeNode(guest, node)
  await guest.execute('blockdev-add', diskNode(node, stored, isReadOnly(disk)))
  try {
    await guest.execute('device_add', diskDevice(diskId, place))
  } catch (error) {
    await removeNode(guest, node)
    throw error
  }
}

/** Where a disk goes in a guest that runs; undefined when it takes no more. Without a wish its other disks tell. */
async function findPlace(
  guest: Guest,
  devices: readonly Device[],
  { bus, isCd }: ServerDisk,
): Promise<DiskPlace | undefined> {
  if (bus === 'ide' || bus === 'sata' || (bus === undefined && devices.some(isFixed))) throw noHotPlug('takes no disks')
  const hasScsi = devices.some(({ name }) => name === SCSI_CONTROLLER)
  if (bus === 'scsi' && !hasScsi) throw new HostError('startFailed', 'The server has no SCSI controller.')
  if (bus === 'scsi' || (bus === undefined && hasScsi)) return scsiPlace(isCd === true)
  const port = await findFreePort(guest, devices, DISK_PORTS)
  return port === undefined ? undefined : { driver: 'virtio-blk-pci', bus: port }
}

/** IDE and SATA disks, which QEMU neither gives nor takes while a guest runs. */
const isFixed = ({ type }: Device): boolean => type === 'child<ide-hd>' || type === 'child<ide-cd>'

const noHotPlug = (what: string): HostError =>
  new HostError('startFailed', `The server ${what} while it runs: its image asks for disks on IDE or SATA.`)

/**
 * Takes a disk out of a guest that runs; accepts that it has none such.
 * @throws HostError `startFailed` for a disk on IDE or SATA; `unreachable` when the guest does not let go of it; QmpError, Error as above.
 */
export async function unplugDisk(guest: Guest, diskId: string, file: string): Promise<void> {
  const { device, node } = diskIds(diskId)
  const own = (await readDevices(guest)).find(({ name }) => name === device)
  if (own && isFixed(own)) throw noHotPlug('gives up no disks')
  if (own) await removeDevice(guest, device, 'volume')
  await removeNode(guest, node)
  const { pid } = guest
  if (pid === undefined || !hasOpen(pid, file)) return
  throw new HostError('unreachable', 'The volume is not closed yet.', { cause: new Error(`${pid} has ${file} open`) })
}

export interface BlockNode {
  name: string
  virtualBytes: number
  /** Names of its records of what was written. */
  bitmaps: string[]
}

/** The block nodes with a name of ours. */
export async function readNodes(guest: Guest): Promise<BlockNode[]> {
  const nodes = readObjects(await guest.execute('query-named-block-nodes', { flat: true }))
  return nodes.map((node) => ({
    name: String(node['node-name']),
    virtualBytes: Number((node.image as Record<string, unknown> | undefined)?.['virtual-size']),
    bitmaps: readObjects(node['dirty-bitmaps']).map(({ name }) => String(name)),
  }))
}

/** Accepts that there is no such node. @throws QmpError when something goes on using it. */
export async function removeNode(guest: Guest, node: string): Promise<void> {
  const deadline = performance.now() + CLOSE_MS
  while ((await readNodes(guest)).some(({ name }) => name === node)) {
    try {
      return void (await guest.execute('blockdev-del', { 'node-name': node }))
    } catch (error) {
      if (!(error instanceof QmpError) || performance.now() > deadline) throw error
    }
    await pause(LOOK_EVERY_MS)
  }
}

/** Whether a process has a file open; one that is gone has none. */
function hasOpen(pid: number, file: string): boolean {
  const { dev, ino } = statSync(file)
  let descriptors: string[]
  try {
    descriptors = readdirSync(`/proc/${pid}/fd`)
  } catch {
    return false
  }
  return descriptors.some((fd) => {
    const open = statSync(`/proc/${pid}/fd/${fd}`, { throwIfNoEntry: false })
    return open?.dev === dev && open.ino === ino
  })
}
