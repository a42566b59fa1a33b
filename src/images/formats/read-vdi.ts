import { isZero, readU64 } from './byte-source.ts'
import type { Inspection } from './inspection.ts'

const HEADER_BYTES = 512
const SECTOR_BYTES = 512
const BLOCK_BYTES = 1024 ** 2
const DYNAMIC = 1
const STATIC = 2

const AGAIN = 'It is damaged, or made to mislead.'
const WHOLE = 'Upload it whole: VBoxManage clonemedium FILE WHOLE.vdi'

/**
 * A VDI disk of VirtualBox that stands alone, dynamic or static.
 * Source: block/vdi.c of QEMU.
 */
export function readVdi(inspection: Inspection): number {
  const { checks } = inspection
  checks.demand(
    inspection.head.length >= HEADER_BYTES && inspection.head.readUInt32LE(0x40) === 0xbeda107f,
    'magic',
    'The file is no VDI disk: it does not begin as one.',
  )
  checks.pass('magic')
  const header = inspection.atLeast(HEADER_BYTES)
  const version = header.readUInt32LE(0x44)
  checks.demand(
    version === 0x00010001,
    'version',
    `The VDI disk is of version 0x${version.toString(16)}; 1.1 is taken.`,
  )
  checks.pass('version', '1.1')

  const type = header.readUInt32LE(0x4c)
  const leansOnOther = !isZero(header.subarray(0x1a8, 0x1b8)) || !isZero(header.subarray(0x1b8, 0x1c8))
  checks.demand(
    (type === DYNAMIC || type === STATIC) && !leansOnOther,
    'backing-file',
    `The VDI disk holds only the differences to another disk. ${WHOLE}`,
  )
  checks.pass('backing-file', 'none')

  const mapAt = header.readUInt32LE(0x154)
  const dataAt = header.readUInt32LE(0x158)
  const blocks = header.readUInt32LE(0x180)
  const allocated = header.readUInt32LE(0x184)
  checks.demand(
    header.readUInt32LE(0x168) === SECTOR_BYTES &&
      header.readUInt32LE(0x178) === BLOCK_BYTES &&
      header.readUInt32LE(0x17c) === 0 &&
      mapAt >= HEADER_BYTES &&
      mapAt % SECTOR_BYTES === 0 &&
      dataAt % SECTOR_BYTES === 0,
    'header',
    `The VDI header is not one that a tool writes. ${AGAIN}`,
  )
  checks.pass('header')
  const virtualBytes = inspection.virtualSize(readU64(header, 0x170, 'little'))
  checks.demand(
    blocks === Math.ceil(virtualBytes / BLOCK_BYTES) && allocated <= blocks,
    'tables',
    `The VDI disk's table does not fit its size. ${AGAIN}`,
  )
  checks.demand(
    mapAt + blocks * 4 <= dataAt && inspection.holds(mapAt, blocks * 4),
    'tables',
    `The VDI disk's table is not inside its file. ${AGAIN}`,
  )
  checks.demand(
    inspection.holds(dataAt, allocated * BLOCK_BYTES),
    'tables',
    `The VDI disk has ${allocated} blocks of 1 MiB, but the file ends before. Upload all of it.`,
  )
  checks.pass('tables')
  return virtualBytes
}
