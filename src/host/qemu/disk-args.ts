/**
 * How QEMU calls disks. A disk has two halves: the block node, which holds the files, and the device the guest sees. Both
 * are named after the disk, so that whoever comes later finds them. Pure.
 */

import type { ServerDisk } from '../volume-host.ts'
import type { StoredVolume } from '../volumes/volume-backend.ts'
import type { DiskPlace } from './machine-args.ts'

/** The node and the device of the image's disk. */
export const ROOT_NODE = 'root'
export const ROOT_DEVICE = 'vda'

/** Where all devices of volumes and local disks begin. */
export const DISK_DEVICE_PREFIX = 'disk-'

/** How many letters a guest sees of a serial number. Source: virtio, VIRTIO_BLK_ID_BYTES. */
const SERIAL_LETTERS = 20
/** A node's name has at most 31 letters; what is left of an id tells it from all others. Source: QEMU, block_int.h. */
const NODE_LETTERS = 24

export const diskIds = (diskId: string): { node: string; device: string; serial: string } => ({
  node: `d-${diskId.replaceAll('-', '').slice(0, NODE_LETTERS)}`,
  device: `${DISK_DEVICE_PREFIX}${diskId}`,
  serial: diskId.slice(0, SERIAL_LETTERS),
})

/** The node of a disk: its files by name, and what the guest discards, or writes as zeros, given back to the host. */
export const diskNode = (node: string, { file, base }: StoredVolume, isReadOnly = false) => ({
  driver: 'qcow2',
  'node-name': node,
  ...(isReadOnly ? { 'read-only': true } : {}),
  discard: 'unmap',
  'detect-zeroes': 'unmap',
  file: { driver: 'file', filename: file, discard: 'unmap' },
  backing:
    base === undefined
      ? null
      : {
          driver: 'qcow2',
          'read-only': true,
          backing: null,
          file: { driver: 'file', filename: base, 'read-only': true },
        },
})

/** Whether its files are opened so that nobody writes to them. */
export const isReadOnly = (disk: Pick<ServerDisk, 'isCd' | 'isReadOnly'>): boolean =>
  disk.isCd === true || disk.isReadOnly === true

/** A disk as QEMU makes it, at its start or in a guest that runs. */
export const diskDevice = (diskId: string, { driver, ...where }: DiskPlace, bootindex?: number) => {
  const { node, device, serial } = diskIds(diskId)
  const own = { driver, drive: node, id: device, serial, ...where }
  return bootindex === undefined ? own : { ...own, bootindex }
}

/** A disk that a machine starts with. */
export function diskArgs(disk: ServerDisk, stored: StoredVolume, place: DiskPlace, bootindex?: number): string[] {
  const { diskId } = disk
  const node = JSON.stringify(diskNode(diskIds(diskId).node, stored, isReadOnly(disk)))
  return ['-blockdev', node, '-device', words(diskDevice(diskId, place, bootindex))]
}

/** The disk of the image, in a machine that starts. */
export function rootDisk(stored: StoredVolume, { driver, ...where }: DiskPlace, bootindex: number): string[] {
  const device = `${driver},${words({ drive: ROOT_NODE, id: ROOT_DEVICE, ...where, bootindex })}`
  return ['-blockdev', JSON.stringify(diskNode(ROOT_NODE, stored)), '-device', device]
}

const words = (device: object): string =>
  Object.entries(device)
    .map(([name, value]) => `${name}=${value}`)
    .join(',')

/** The place of each disk that boots, from 1; what does not boot is not in it. */
export function bootOrder(disks: readonly ServerDisk[]): Map<string, number> {
  const bootable = disks.flatMap(({ diskId, bootIndex }) => (bootIndex === null ? [] : [{ diskId, bootIndex }]))
  bootable.sort((a, b) => a.bootIndex - b.bootIndex)
  return new Map(bootable.map(({ diskId }, index) => [diskId, index + 1]))
}
