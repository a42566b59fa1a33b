import { isZero, readU64 } from './byte-source.ts'
import type { Inspection } from './inspection.ts'

const SECTOR_BYTES = 512
const FOOTER_BYTES = 512
const DYNAMIC_HEADER_BYTES = 1024
const FIXED = 2
const DYNAMIC = 3
const NO_OFFSET = 0xffffffffffffffffn
/** The format's own limit: 2040 GiB. */
const LARGEST_BYTES = 2040 * 1024 ** 3

const AGAIN = 'It is damaged, or made to mislead.'
const WHOLE = 'Upload it whole: qemu-img convert -O vpc FILE WHOLE.vhd'

/** Programs whose disks are as large as the footer says; those of others are as large as their geometry. */
const TRUSTED_CREATORS = ['win ', 'qem2', 'd2v ', 'tap\0', 'vs  ', 'wa\0\0']
const LARGEST_GEOMETRY_SECTORS = 65535 * 16 * 255

/**
 * A VHD of Virtual PC, Hyper-V or Azure, fixed or dynamic, that stands alone.
 * Source: the Virtual Hard Disk Image Format Specification of Microsoft; block/vpc.c of QEMU for the size.
 */
export async function readVhd(inspection: Inspection): Promise<number> {
  const { checks, head, tail, sizeBytes } = inspection
  const isDynamic = head.toString('latin1', 0, 8) === 'conectix'
  const footer = tail.subarray(Math.max(0, tail.length - FOOTER_BYTES))
  const hasFooter = footer.length === FOOTER_BYTES && footer.toString('latin1', 0, 8) === 'conectix'
  checks.demand(hasFooter || isDynamic, 'magic', 'The file is no VHD disk: it does not end as one.')
  checks.demand(hasFooter, 'header-copy', 'The VHD disk has lost its end. Upload all of it.')
  checks.pass('magic')
  checks.demand(hasSum(footer, 64), 'checksum', `The VHD footer's checksum is wrong. ${AGAIN}`)
  checks.pass('checksum')
  checks.demand(
    footer.readUInt32BE(12) === 0x10000,
    'version',
    `The VHD disk is of version 0x${footer.readUInt32BE(12).toString(16)}; 1.0 is taken.`,
  )
  checks.pass('version', '1.0')
  const type = footer.readUInt32BE(60)
  checks.demand(
    type === FIXED || type === DYNAMIC,
    'backing-file',
    `The VHD disk holds only the differences to another disk. ${WHOLE}`,
  )
  checks.demand(
    isDynamic === (type === DYNAMIC) && (!isDynamic || footer.equals(head.subarray(0, FOOTER_BYTES))),
    'header-copy',
    `The VHD disk's footer and its copy at the beginning do not agree. ${AGAIN}`,
  )
  checks.pass('header-copy')

  const currentBytes = readU64(footer, 48, 'big')
  const virtualBytes = inspection.virtualSize(seenBytes(footer))
  checks.demand(
    virtualBytes <= currentBytes && currentBytes <= LARGEST_BYTES,
    'virtual-size',
    `The VHD disk tells two sizes: ${virtualBytes} and ${currentBytes} bytes. ${AGAIN}`,
  )
  if (isDynamic) await demandDynamicHeader(inspection, footer, virtualBytes)
  else {
    checks.pass('backing-file', 'none')
    checks.demand(
      currentBytes + FOOTER_BYTES === sizeBytes && footer.readBigUInt64BE(16) === NO_OFFSET,
      'tables',
      `The VHD footer says the disk has ${currentBytes} bytes, but the file has ${sizeBytes - FOOTER_BYTES} before it. Upload all of it.`,
    )
    checks.pass('tables')
  }
  return virtualBytes
}

/** The size that a guest sees, as QEMU takes it from a footer. */
function seenBytes(footer: Buffer): number {
  const currentBytes = readU64(footer, 48, 'big')
  const sectors = footer.readUInt16BE(56) * footer.readUInt8(58) * footer.readUInt8(59)
  const isTrusted = TRUSTED_CREATORS.includes(footer.toString('latin1', 28, 32))
  const isWholeSectors = Math.floor(currentBytes / SECTOR_BYTES) * SECTOR_BYTES
  return isTrusted || sectors === LARGEST_GEOMETRY_SECTORS ? isWholeSectors : sectors * SECTOR_BYTES
}

async function demandDynamicHeader(inspection: Inspection, footer: Buffer, virtualBytes: number): Promise<void> {
  const { checks } = inspection
  const header = await inspection.read(readU64(footer, 16, 'big'), DYNAMIC_HEADER_BYTES)
  checks.demand(
    header.toString('latin1', 0, 8) === 'cxsparse' && hasSum(header, 36),
    'checksum',
    `The VHD disk's second header is not whole. ${AGAIN}`,
  )
  const hasParent = !isZero(header.subarray(40, 56)) || !isZero(header.subarray(64))
  checks.demand(!hasParent, 'backing-file', `The VHD disk names a parent. ${WHOLE}`)
  checks.pass('backing-file', 'none')
  const blockBytes = header.readUInt32BE(32)
  const isBlock = blockBytes >= 64 * 1024 && blockBytes <= 256 * 1024 ** 2 && Number.isInteger(Math.log2(blockBytes))
  checks.demand(isBlock, 'header', `The VHD disk has blocks of ${blockBytes} bytes. ${AGAIN}`)
  checks.pass('header', `blocks of ${blockBytes} bytes`)
  const entries = header.readUInt32BE(28)
  checks.demand(
    entries * blockBytes >= virtualBytes && inspection.holds(readU64(header, 16, 'big'), entries * 4),
    'tables',
    `The VHD disk's table does not fit its size, or is not inside its file. ${AGAIN}`,
  )
  checks.pass('tables')
}

/** Whether the sum at `at` is the one's complement of the sum of all other bytes. */
function hasSum(bytes: Buffer, at: number): boolean {
  let sum = 0
  for (let i = 0; i < bytes.length; i++) if (i < at || i >= at + 4) sum += bytes[i] ?? 0
  return bytes.readUInt32BE(at) === ~sum >>> 0
}
