import { readU64 } from './byte-source.ts'
import type { Inspection } from './inspection.ts'
import { isVmdkText } from './known-formats.ts'
import { quote } from './verdict.ts'
import { parseVmdkDescriptor } from './vmdk-descriptor.ts'

const SECTOR_BYTES = 512
/** Where QEMU looks for the text, whatever the header says, and how far. */
const DESCRIPTOR_AT = 512
const DESCRIPTOR_REACH_BYTES = 20 * 1024
/** The directory of grain tables lies at the end of a stream; a second header there says where. */
const DIRECTORY_AT_END = 0xffffffffffffffffn
const MOST_GRAIN_TABLES = 1024 ** 2
const SINGLE_FILE_TYPES = ['monolithicsparse', 'streamoptimized']
/** Keys that name a file other than the disk's own. */
const OUTWARD_KEYS = ['parentfilenamehint', 'changetrackpath', 'ddb.nativeparenthint', 'ddb.nativeparentcid']

const AGAIN = 'It is damaged, or made to mislead.'
const SINGLE = 'Make it one file: qemu-img convert -O vmdk -o subformat=monolithicSparse FILE ONE.vmdk'

/** What both headers of a VMDK say. */
interface SparseHeader {
  version: number
  flags: number
  capacity: number
  grainSectors: number
  descriptorAt: number
  descriptorSectors: number
  entriesPerTable: number
  backupDirectoryAt: number
  directoryAt: number
  isDirectoryAtEnd: boolean
  overheadSectors: number
  compression: number
}

/** Bit of `flags`: a second directory is there. */
const HAS_BACKUP_DIRECTORY = 1 << 1

/**
 * A VMDK in one file: monolithicSparse or streamOptimized, whose only extent is the file itself.
 * Source: the Virtual Disk Format 5.0 of VMware; block/vmdk.c of QEMU for what a tool does with each field.
 */
export async function readVmdk(inspection: Inspection): Promise<number> {
  const { checks, head, tail, sizeBytes } = inspection
  checks.demand(
    !isVmdkText(head),
    'data-file',
    `The file is only the text of a VMDK, which names the files that hold the disk. ${SINGLE}`,
  )
  const magic = head.toString('latin1', 0, 4)
  checks.demand(magic !== 'COWD', 'version', `The VMDK is of the old kind of ESX servers. ${SINGLE}`)
  checks.demand(magic === 'KDMV', 'magic', 'The file is no VMDK disk: it does not begin as one.')
  checks.pass('magic')
  inspection.atLeast(SECTOR_BYTES)

  const first = parseHeader(head)
  demandHeader(inspection, first)
  demandDescriptor(inspection, first)
  const header = first.isDirectoryAtEnd ? readFooter(inspection, first, tail) : first
  const virtualBytes = inspection.virtualSize(header.capacity * SECTOR_BYTES)

  const tables = Math.ceil(header.capacity / (header.grainSectors * header.entriesPerTable))
  const isInside = (sectorsAt: number): boolean =>
    sectorsAt > 0 && inspection.holds(sectorsAt * SECTOR_BYTES, tables * 4)
  const hasBackup = (header.flags & HAS_BACKUP_DIRECTORY) !== 0
  checks.demand(
    tables <= MOST_GRAIN_TABLES && isInside(header.directoryAt) && (!hasBackup || isInside(header.backupDirectoryAt)),
    'tables',
    `The VMDK's directory is not inside its file. Upload all of it.`,
  )
  checks.demand(
    header.overheadSectors * SECTOR_BYTES <= sizeBytes,
    'tables',
    'The file ends before its own tables do. Upload all of it.',
  )
  checks.pass('tables')
  return virtualBytes
}

function parseHeader(bytes: Buffer): SparseHeader {
  return {
    version: bytes.readUInt32LE(4),
    flags: bytes.readUInt32LE(8),
    capacity: readU64(bytes, 12, 'little'),
    grainSectors: readU64(bytes, 20, 'little'),
    descriptorAt: readU64(bytes, 28, 'little'),
    descriptorSectors: readU64(bytes, 36, 'little'),
    entriesPerTable: bytes.readUInt32LE(44),
    backupDirectoryAt: readU64(bytes, 48, 'little'),
    directoryAt: readU64(bytes, 56, 'little'),
    isDirectoryAtEnd: bytes.readBigUInt64LE(56) === DIRECTORY_AT_END,
    overheadSectors: readU64(bytes, 64, 'little'),
    compression: bytes.readUInt16LE(77),
  }
}

function demandHeader({ checks, head }: Inspection, header: SparseHeader): void {
  checks.demand(
    header.version >= 1 && header.version <= 3,
    'version',
    `The VMDK is of version ${header.version}; 1 to 3 are taken. ${SINGLE}`,
  )
  checks.pass('version', String(header.version))
  // Without a size of its own a tool takes the files that the text names for the disk.
  checks.demand(header.capacity > 0, 'data-file', `The VMDK has no data of its own, only names of files. ${SINGLE}`)
  const { grainSectors, entriesPerTable, compression } = header
  const isGrain = grainSectors >= 8 && grainSectors <= 0x20_0000 && Number.isInteger(Math.log2(grainSectors))
  const isWhole = head.toString('latin1', 73, 77) === '\n \r\n'
  checks.demand(
    isGrain && entriesPerTable > 0 && entriesPerTable <= 512 && compression <= 1,
    'header',
    `The VMDK header is not one that a tool writes. ${AGAIN}`,
  )
  checks.demand(isWhole, 'header', 'The VMDK was changed on its way, as text is. Upload it as binary.')
  checks.pass('header', `grains of ${grainSectors} sectors`)
}

function demandDescriptor(inspection: Inspection, { capacity, descriptorAt, descriptorSectors }: SparseHeader): void {
  const { checks, head, sizeBytes } = inspection
  checks.demand(descriptorAt > 0, 'data-file', `The file is one part of a VMDK in several files. ${SINGLE}`)
  const bytes = descriptorSectors * SECTOR_BYTES
  const isPlaced = descriptorAt * SECTOR_BYTES === DESCRIPTOR_AT && bytes > 0 && bytes <= DESCRIPTOR_REACH_BYTES
  checks.demand(
    isPlaced && DESCRIPTOR_AT + bytes <= sizeBytes,
    'header',
    `The VMDK's text is not in its place. ${AGAIN}`,
  )

  // A tool reads on where the header says that the text ends, and finds names there.
  const reach = head
    .subarray(DESCRIPTOR_AT, DESCRIPTOR_AT + DESCRIPTOR_REACH_BYTES)
    .toString('latin1')
    .toLowerCase()
  checks.demand(
    !reach.includes('parentfilenamehint'),
    'backing-file',
    `The VMDK is an overlay of another disk. ${SINGLE}`,
  )
  const { values, extents, unknown } = parseVmdkDescriptor(
    head.toString('latin1', DESCRIPTOR_AT, DESCRIPTOR_AT + bytes),
  )
  const isPart = values.size === 0 && extents.length === 0
  checks.demand(!isPart, 'data-file', `The file is one part of a VMDK in several files. ${SINGLE}`)
  const outward = OUTWARD_KEYS.find((key) => values.has(key))
  checks.demand(outward === undefined, 'backing-file', `The VMDK names another file, as its ${outward}. ${SINGLE}`)
  const parents = values.get('parentcid') ?? []
  const hasParent = parents.length !== 1 || parents[0]?.toLowerCase() !== 'ffffffff'
  checks.demand(!hasParent, 'backing-file', `The VMDK says it has a parent. ${SINGLE}`)
  checks.pass('backing-file', 'none')

  const types = values.get('createtype') ?? []
  const type = types.join(', ')
  checks.demand(
    types.length === 1 && SINGLE_FILE_TYPES.includes(type.toLowerCase()),
    'data-file',
    `The VMDK is of the kind ${quote(type)}; monolithicSparse and streamOptimized are taken. ${SINGLE}`,
  )
  const [extent, ...others] = extents
  checks.demand(
    extent !== undefined && others.length === 0 && unknown.length === 0,
    'data-file',
    `The VMDK's text tells of ${extents.length} files, and of ${unknown.length} things not known here. ${SINGLE}`,
  )
  if (extent === undefined) return
  const isOwnFile = extent.type === 'SPARSE' && extent.access !== 'NOACCESS' && isBareName(extent.fileName)
  checks.demand(
    isOwnFile,
    'data-file',
    `The VMDK's data are in another file, ${quote(extent.fileName)} (${extent.type}). ${SINGLE}`,
  )
  checks.pass('data-file', `${type}, one extent`)
  checks.demand(
    extent.sectors === capacity,
    'virtual-size',
    `The VMDK tells two sizes: ${extent.sectors} and ${capacity} sectors. ${AGAIN}`,
  )
}

/** A name in the disk's own directory: what it was called when it was made. */
const isBareName = (name: string): boolean => /^[^/\\:.][^/\\:]*$/.test(name)

/** The header that a stream ends with, which counts; it may only add where the directory is. */
function readFooter({ checks }: Inspection, first: SparseHeader, tail: Buffer): SparseHeader {
  const isFooter =
    tail.length >= 3 * SECTOR_BYTES &&
    // A marker of type 3 (footer), one sector long; the header; a marker of type 0 (end of stream).
    tail.readUInt32LE(8) === 0 &&
    readU64(tail, 0, 'little') === 1 &&
    tail.readUInt32LE(12) === 3 &&
    tail.toString('latin1', SECTOR_BYTES, SECTOR_BYTES + 4) === 'KDMV' &&
    tail.readUInt32LE(2 * SECTOR_BYTES + 8) === 0 &&
    tail.readUInt32LE(2 * SECTOR_BYTES + 12) === 0
  checks.demand(isFooter, 'header-copy', 'The VMDK has no end, as a stream that was cut off. Upload all of it.')
  const last = parseHeader(tail.subarray(SECTOR_BYTES))
  const same = ({ directoryAt: _, isDirectoryAtEnd: __, backupDirectoryAt: ___, ...rest }: SparseHeader): string =>
    JSON.stringify(rest)
  checks.demand(
    same(last) === same(first) && !last.isDirectoryAtEnd,
    'header-copy',
    `The VMDK's two headers do not agree. ${AGAIN}`,
  )
  checks.pass('header-copy')
  return last
}
