/**
 * A qcow2 disk that holds nothing of its own yet, written without any tool: starting one takes longer than all the rest
 * of making a disk. Clusters have 64 KiB, as `qemu-img create` makes them:
 *
 *   header, extensions, backing file's name │ reference count table │ reference counts │ L1 table, empty
 *
 * Source: docs/interop/qcow2.txt of QEMU.
 */
import { open } from 'node:fs/promises'

const CLUSTER_BITS = 16
const CLUSTER_BYTES = 2 ** CLUSTER_BITS
const HEADER_BYTES = 112
const MAGIC = 0x514649fb
const BACKING_FORMAT = 0xe2792aca
const LONGEST_BACKING_FILE = 1023
/** An L1 entry leads to a cluster of L2 entries, each of eight bytes, for a cluster each. */
const BYTES_PER_L1_ENTRY = CLUSTER_BYTES * (CLUSTER_BYTES / 8)
/** Reference counts have 16 bits: one cluster of them counts so many clusters, far more than an empty disk has. */
const REFCOUNT_ORDER = 4
const FIRST_CLUSTERS = { table: 1, counts: 2, l1: 3 }
/** The largest disk whose L1 table is one that QEMU opens. */
const LARGEST_BYTES = (32 * 1024 ** 2 * BYTES_PER_L1_ENTRY) / 8

/** The bytes of an empty disk, without the zeros at its end, and how long its file is. Pure. */
export function emptyQcow2(virtualBytes: number, backingFile?: string): { head: Buffer; fileBytes: number } {
  if (virtualBytes > LARGEST_BYTES) throw new Error(`no qcow2 disk has ${virtualBytes} bytes`)
  const name = Buffer.from(backingFile ?? '')
  if (name.length > LONGEST_BACKING_FILE) throw new Error(`${backingFile} is too long for a qcow2 header`)
  const l1Entries = Math.max(1, Math.ceil(virtualBytes / BYTES_PER_L1_ENTRY))
  const clusters = FIRST_CLUSTERS.l1 + Math.ceil((l1Entries * 8) / CLUSTER_BYTES)
  const head = Buffer.alloc(FIRST_CLUSTERS.counts * CLUSTER_BYTES + clusters * 2)
  const extensions = backingFile === undefined ? [] : [extension(BACKING_FORMAT, 'qcow2')]
  const nameAt = HEADER_BYTES + extensions.reduce((sum, { length }) => sum + length, 0) + 8

  head.writeUInt32BE(MAGIC, 0)
  head.writeUInt32BE(3, 4)
  if (backingFile !== undefined) {
    head.writeBigUInt64BE(BigInt(nameAt), 8)
    head.writeUInt32BE(name.length, 16)
  }
  head.writeUInt32BE(CLUSTER_BITS, 20)
  head.writeBigUInt64BE(BigInt(virtualBytes), 24)
  head.writeUInt32BE(l1Entries, 36)
  head.writeBigUInt64BE(BigInt(FIRST_CLUSTERS.l1 * CLUSTER_BYTES), 40)
  head.writeBigUInt64BE(BigInt(FIRST_CLUSTERS.table * CLUSTER_BYTES), 48)
  head.writeUInt32BE(1, 56)
  head.writeUInt32BE(REFCOUNT_ORDER, 96)
  head.writeUInt32BE(HEADER_BYTES, 100)
  Buffer.concat(extensions).copy(head, HEADER_BYTES)
  name.copy(head, nameAt)

  head.writeBigUInt64BE(BigInt(FIRST_CLUSTERS.counts * CLUSTER_BYTES), FIRST_CLUSTERS.table * CLUSTER_BYTES)
  for (let cluster = 0; cluster < clusters; cluster++) {
    head.writeUInt16BE(1, FIRST_CLUSTERS.counts * CLUSTER_BYTES + cluster * 2)
  }
  return { head, fileBytes: clusters * CLUSTER_BYTES }
}

function extension(type: number, text: string): Buffer {
  const data = Buffer.alloc(8 + Math.ceil(text.length / 8) * 8)
  data.writeUInt32BE(type, 0)
  data.writeUInt32BE(text.length, 4)
  data.write(text, 8)
  return data
}

/**
 * Makes a file that is an empty disk. Not yet lasting: whoever gives it its name syncs it.
 * @param path must not be there.
 * @param backingFile absolute; a qcow2 disk whose content shows through.
 */
export async function writeEmptyQcow2(path: string, virtualBytes: number, backingFile?: string): Promise<void> {
  const { head, fileBytes } = emptyQcow2(virtualBytes, backingFile)
  await using file = await open(path, 'wx', 0o600)
  await file.write(head)
  await file.truncate(fileBytes)
}
