import { isZero, readU64 } from './byte-source.ts'
import { crc32c } from './crc32c.ts'
import type { Inspection } from './inspection.ts'
import { VHDX_AGAIN as AGAIN, vhdxGuid } from './vhdx-guid.ts'
import { readVhdxMetadata } from './vhdx-metadata.ts'

const KIB = 1024
const MIB = 1024 ** 2
const HEADER_BYTES = 4 * KIB
const REGION_TABLE_BYTES = 64 * KIB
const BAT = vhdxGuid('2DC27766-F623-4200-9D64-115E9BFD4A08')
const METADATA = vhdxGuid('8B7CA206-4790-4B9A-B8FE-575F050F886E')
const MOST_REGIONS = 2047

interface Region {
  offset: number
  bytes: number
}

/**
 * A VHDX of Hyper-V that stands alone and was closed: nothing waits in its log.
 * Source: [MS-VHDX]; block/vhdx.c of QEMU.
 */
export async function readVhdx(inspection: Inspection): Promise<number> {
  const { checks, head } = inspection
  checks.demand(
    head.toString('latin1', 0, 8) === 'vhdxfile',
    'magic',
    'The file is no VHDX disk: it does not begin as one.',
  )
  checks.pass('magic')
  await demandHeaders(inspection)
  const regions = await readRegions(inspection)
  const { virtualBytes, blockBytes, sectorBytes } = await readVhdxMetadata(
    inspection,
    regions.metadata.offset,
    regions.metadata.bytes,
  )

  const chunkBlocks = (2 ** 23 * sectorBytes) / blockBytes
  const blocks = Math.ceil(virtualBytes / blockBytes)
  const entries = blocks + Math.floor((blocks - 1) / chunkBlocks)
  checks.demand(
    entries * 8 <= regions.table.bytes,
    'tables',
    `The VHDX disk's table is too small for its size. ${AGAIN}`,
  )
  checks.pass('tables')
  return virtualBytes
}

/** The newer of the two headers counts. Each is written over in turn, so that the older may be torn. */
async function demandHeaders(inspection: Inspection): Promise<void> {
  const { checks } = inspection
  const copies = [await inspection.read(64 * KIB, HEADER_BYTES), await inspection.read(128 * KIB, HEADER_BYTES)]
  const [newest, other] = copies
    .filter((copy) => copy.toString('latin1', 0, 4) === 'head' && crc32c(copy, 4) === copy.readUInt32LE(4))
    .sort((a, b) => readU64(b, 8, 'little') - readU64(a, 8, 'little'))
  if (newest === undefined) return checks.refuse('checksum', `Neither header of the VHDX disk is whole. ${AGAIN}`)
  const isTie = other !== undefined && newest.readBigUInt64LE(8) === other.readBigUInt64LE(8)
  checks.demand(!isTie || newest.equals(other), 'header-copy', `The VHDX disk's two headers do not agree. ${AGAIN}`)
  checks.pass('checksum')
  checks.demand(newest.readUInt16LE(66) === 1, 'version', `The VHDX disk is of version ${newest.readUInt16LE(66)}.`)
  checks.pass('version', '1')
  checks.demand(
    isZero(newest.subarray(48, 64)),
    'features',
    'The VHDX disk was not closed after it was last written: its log waits to be replayed. Open it once where it was made, or: qemu-img check -r all FILE',
  )
  checks.pass('features')
}

async function readRegions(inspection: Inspection): Promise<{ table: Region; metadata: Region }> {
  const { checks } = inspection
  const first = await inspection.read(192 * KIB, REGION_TABLE_BYTES)
  const second = await inspection.read(256 * KIB, REGION_TABLE_BYTES)
  checks.demand(first.equals(second), 'header-copy', `The VHDX disk's two tables of regions do not agree. ${AGAIN}`)
  checks.pass('header-copy')
  checks.demand(
    first.toString('latin1', 0, 4) === 'regi' && crc32c(first, 4) === first.readUInt32LE(4),
    'checksum',
    `The VHDX disk's table of regions is not whole. ${AGAIN}`,
  )
  const count = first.readUInt32LE(8)
  checks.demand(count <= MOST_REGIONS, 'header', `The VHDX disk has ${count} regions. ${AGAIN}`)
  const found: { table?: Region; metadata?: Region } = {}
  for (let i = 0; i < count; i++) {
    const entry = first.subarray(16 + i * 32, 48 + i * 32)
    const name = entry.subarray(0, 16)
    const key = name.equals(BAT) ? 'table' : name.equals(METADATA) ? 'metadata' : undefined
    const isRequired = (entry.readUInt32LE(28) & 1) !== 0
    if (key === undefined) {
      checks.demand(!isRequired, 'features', 'The VHDX disk needs a feature that is not known here.')
      continue
    }
    const region = { offset: readU64(entry, 16, 'little'), bytes: entry.readUInt32LE(24) }
    const isPlaced =
      region.offset >= MIB && region.offset % MIB === 0 && region.bytes >= MIB && region.bytes % MIB === 0
    checks.demand(
      isPlaced && found[key] === undefined && inspection.holds(region.offset, region.bytes),
      'tables',
      `A region of the VHDX disk is not inside its file. ${AGAIN}`,
    )
    found[key] = region
  }
  const { table, metadata } = found
  if (table === undefined || metadata === undefined) {
    return checks.refuse('tables', `The VHDX disk lacks its tables. ${AGAIN}`)
  }
  return { table, metadata }
}
