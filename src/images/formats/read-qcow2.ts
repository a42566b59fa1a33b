import { isZero, readU64 } from './byte-source.ts'
import type { Inspection } from './inspection.ts'
import { readQcow2Extensions } from './qcow2-extensions.ts'
import { quote } from './verdict.ts'

/** Bits of `incompatible_features` that this reader knows. */
const DIRTY = 1n << 0n
const CORRUPT = 1n << 1n
const EXTERNAL_DATA = 1n << 2n
const COMPRESSION_TYPE = 1n << 3n
const EXTENDED_L2 = 1n << 4n
const KNOWN = DIRTY | CORRUPT | EXTERNAL_DATA | COMPRESSION_TYPE | EXTENDED_L2
/** Of `autoclear_features`: the external data file is a raw disk. */
const RAW_EXTERNAL_DATA = 1n << 1n

const V2_HEADER_BYTES = 72
const V3_HEADER_BYTES = 104
/** With the compression type, padded; the longest header there is. */
const KNOWN_HEADER_BYTES = 112
const L1_ENTRY_BYTES = 8
const LONGEST_L1_BYTES = 32 * 1024 ** 2
const LONGEST_REFCOUNT_TABLE_BYTES = 8 * 1024 ** 2
/** More than people make; each makes opening slower. */
const MOST_SNAPSHOTS = 1024
const SNAPSHOT_BYTES = 40

const FLATTEN = 'Upload it whole: qemu-img convert -O qcow2 FILE WHOLE.qcow2'
const REPAIR = 'Repair it: qemu-img check -r all FILE'
const AGAIN = 'It is damaged, or made to mislead.'

/**
 * A QCOW2 disk of version 2 or 3 that needs no other file. Internal snapshots are taken, and not kept: what is converted
 * is the disk as it is now.
 * Source: docs/interop/qcow2.txt of QEMU.
 */
export async function readQcow2(inspection: Inspection): Promise<number> {
  const { checks, head } = inspection
  const isQcow = head.length >= 8 && head.readUInt32BE(0) === 0x514649fb
  checks.demand(isQcow, 'magic', 'The file is no QCOW2 disk: it does not begin as one.')
  checks.pass('magic')
  const version = head.readUInt32BE(4)
  const newest = 'Make a newer one: qemu-img convert -O qcow2 FILE NEW.qcow2'
  checks.demand(
    version === 2 || version === 3,
    'version',
    `The QCOW disk is of version ${version}; 2 and 3 are taken. ${newest}`,
  )
  checks.pass('version', String(version))
  inspection.atLeast(version === 2 ? V2_HEADER_BYTES : V3_HEADER_BYTES)

  await demandNoBackingFile(inspection)
  const headerBytes = version === 2 ? V2_HEADER_BYTES : head.readUInt32BE(100)
  const features = version === 2 ? 0n : head.readBigUInt64BE(72)
  demandFeatures(inspection, features, version === 2 ? 0n : head.readBigUInt64BE(88))
  demandNoEncryption(inspection)

  const clusterBits = head.readUInt32BE(20)
  checks.demand(
    clusterBits >= 9 && clusterBits <= 21,
    'header',
    `The QCOW2 disk has clusters of 2^${clusterBits} bytes; 2^9 to 2^21 are taken. ${AGAIN}`,
  )
  const clusterBytes = 2 ** clusterBits
  demandHeader(inspection, version, headerBytes, features, clusterBytes)
  checks.pass('header', `clusters of ${clusterBytes} bytes`)

  readQcow2Extensions(inspection, headerBytes, clusterBytes)
  const virtualBytes = inspection.virtualSize(readU64(head, 24, 'big'))
  const hasExtendedL2 = (features & EXTENDED_L2) !== 0n
  checks.demand(!hasExtendedL2 || clusterBits >= 14, 'features', `Its clusters are too small for subclusters. ${AGAIN}`)
  demandTables(inspection, virtualBytes, clusterBytes, hasExtendedL2 ? 16 : 8)
  demandSnapshots(inspection, clusterBytes)
  return virtualBytes
}

async function demandNoBackingFile(inspection: Inspection): Promise<void> {
  const { checks, head } = inspection
  const offset = readU64(head, 8, 'big')
  const length = head.readUInt32BE(16)
  if (offset !== 0 || length !== 0) {
    const canRead = length > 0 && length <= 1023 && inspection.holds(offset, length)
    const name = canRead ? ` (${quote((await inspection.read(offset, length)).toString('latin1'))})` : ''
    checks.refuse('backing-file', `The disk is an overlay of another file${name}. ${FLATTEN}`)
  }
  checks.pass('backing-file', 'none')
}

function demandFeatures({ checks }: Inspection, features: bigint, autoclear: bigint): void {
  const external = (features & EXTERNAL_DATA) !== 0n || (autoclear & RAW_EXTERNAL_DATA) !== 0n
  checks.demand(!external, 'data-file', `The disk keeps its data in another file. ${FLATTEN}`)
  checks.pass('data-file', 'none')
  checks.demand((features & CORRUPT) === 0n, 'features', `The disk is marked as corrupt. ${REPAIR}`)
  checks.demand((features & DIRTY) === 0n, 'features', `The disk was not closed after it was last written. ${REPAIR}`)
  checks.demand(
    (features & ~KNOWN) === 0n,
    'features',
    'The disk needs a feature that is not known here. Make a plain one: qemu-img convert -O qcow2 FILE PLAIN.qcow2',
  )
  checks.pass('features')
}

function demandNoEncryption({ checks, head }: Inspection): void {
  const method = head.readUInt32BE(32)
  checks.demand(
    method === 0,
    'encryption',
    `The disk is encrypted (${['', 'AES', 'LUKS'][method] ?? 'in an unknown way'}); nobody here has its key. Decrypt it first.`,
  )
  checks.pass('encryption', 'none')
}

function demandHeader(
  { checks, head }: Inspection,
  version: number,
  headerBytes: number,
  features: bigint,
  clusterBytes: number,
): void {
  if (version === 2) return
  const isLength = headerBytes >= V3_HEADER_BYTES && headerBytes % 8 === 0 && headerBytes <= clusterBytes
  checks.demand(
    isLength && headerBytes <= head.length,
    'header',
    `The QCOW2 header says it is ${headerBytes} bytes long. ${AGAIN}`,
  )
  const isKnown = isZero(head.subarray(KNOWN_HEADER_BYTES, Math.max(KNOWN_HEADER_BYTES, headerBytes)))
  checks.demand(isKnown, 'header', 'The QCOW2 header has fields that are not known here.')
  checks.demand(
    head.readUInt32BE(96) <= 6,
    'header',
    `Its reference counts are wider than any tool makes them. ${AGAIN}`,
  )
  // 0 is deflate, 1 Zstandard; the feature bit says that it is not 0.
  const compression = headerBytes > V3_HEADER_BYTES ? (head[104] ?? 0) : 0
  const isAgreed = compression <= 1 && (compression !== 0) === ((features & COMPRESSION_TYPE) !== 0n)
  checks.demand(isAgreed, 'header', `The QCOW2 header does not agree with itself about compression. ${AGAIN}`)
}

function demandTables(inspection: Inspection, virtualBytes: number, clusterBytes: number, l2EntryBytes: number): void {
  const { checks, head } = inspection
  const l1Bytes = head.readUInt32BE(36) * L1_ENTRY_BYTES
  const bytesPerL1Entry = clusterBytes * (clusterBytes / l2EntryBytes)
  checks.demand(
    l1Bytes >= Math.ceil(virtualBytes / bytesPerL1Entry) * L1_ENTRY_BYTES,
    'tables',
    `The disk's table is too small for its size. ${AGAIN}`,
  )
  demandPlace(inspection, readU64(head, 40, 'big'), l1Bytes, LONGEST_L1_BYTES, clusterBytes)
  const refcountBytes = head.readUInt32BE(56) * clusterBytes
  checks.demand(refcountBytes > 0, 'tables', `The disk counts no references. ${AGAIN}`)
  demandPlace(inspection, readU64(head, 48, 'big'), refcountBytes, LONGEST_REFCOUNT_TABLE_BYTES, clusterBytes)
  checks.pass('tables')
}

/** A table after the header, at a cluster's beginning, within the file. */
function demandPlace(inspection: Inspection, offset: number, bytes: number, most: number, clusterBytes: number): void {
  const isInside = offset >= clusterBytes && offset % clusterBytes === 0 && inspection.holds(offset, bytes)
  inspection.checks.demand(isInside && bytes <= most, 'tables', `A table of the disk is not inside its file. ${AGAIN}`)
}

function demandSnapshots(inspection: Inspection, clusterBytes: number): void {
  const { checks, head } = inspection
  const count = head.readUInt32BE(60)
  if (count === 0) {
    checks.pass('snapshots', 'none')
    return
  }
  const offset = readU64(head, 64, 'big')
  checks.demand(count <= MOST_SNAPSHOTS, 'snapshots', `The disk has ${count} snapshots inside. ${FLATTEN}`)
  const isInside = offset >= clusterBytes && offset % clusterBytes === 0
  checks.demand(
    isInside && inspection.holds(offset, count * SNAPSHOT_BYTES),
    'snapshots',
    `The table of the disk's snapshots is not inside its file. ${AGAIN}`,
  )
  checks.pass('snapshots', `${count} inside, which are not kept: the image is the disk as it is now`)
}
