import type { Inspection } from './inspection.ts'
import { findPacked } from './known-formats.ts'

const SECTOR_BYTES = 512

/**
 * A disk as it is, byte for byte: MBR, GPT, or nothing known. That it has no other format's magic is checked for all
 * formats. Its size is the file's, rounded up to whole sectors, as QEMU does.
 */
export function readRaw(inspection: Inspection): number {
  const { checks, head, sizeBytes } = inspection
  checks.demand(sizeBytes > 0, 'magic', 'The file is empty.')
  const packed = findPacked(head)
  checks.demand(
    packed === undefined,
    'magic',
    `The file looks like ${packed?.label}, not like a disk. Unpack it, and upload the disk that is in it.`,
  )
  checks.pass('magic', 'no known format: the bytes are the disk')
  return inspection.virtualSize(Math.ceil(sizeBytes / SECTOR_BYTES) * SECTOR_BYTES)
}

/** A kernel or an initial RAM disk, handed to a guest's memory as it is: of any form but a disk's. */
export function readBootFile(inspection: Inspection): number {
  const { checks, sizeBytes } = inspection
  checks.demand(sizeBytes > 0, 'magic', 'The file is empty.')
  checks.pass('magic', 'no disk')
  return inspection.virtualSize(Math.ceil(sizeBytes / SECTOR_BYTES) * SECTOR_BYTES)
}
