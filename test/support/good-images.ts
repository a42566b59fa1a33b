/** Small disks of every format, built field by field: what hostile ones are made from, and where mutation begins. */
import { crc32c } from '../../src/images/formats/crc32c.ts'
import { vhdxGuid } from '../../src/images/formats/vhdx-guid.ts'

const SECTOR = 512
const KIB = 1024
const MIB = 1024 ** 2

/** How large every disk here is, for a guest. */
export const DISK_BYTES = 4 * MIB

export const QCOW2_CLUSTER = 64 * KIB

/** Header extensions of a qcow2, one after the other, with their end. */
export const qcow2Extensions = (...list: { type: number; data: Buffer }[]): Buffer =>
  Buffer.concat([
    ...list.map(({ type, data }) => {
      const bytes = Buffer.alloc(8 + Math.ceil(data.length / 8) * 8)
      bytes.writeUInt32BE(type, 0)
      bytes.writeUInt32BE(data.length, 4)
      data.copy(bytes, 8)
      return bytes
    }),
    Buffer.alloc(8),
  ])

/** An empty qcow2: header, table of references, references, L1 table, a cluster each. */
export function goodQcow2(version: 2 | 3 = 3): Buffer {
  const bytes = Buffer.alloc(4 * QCOW2_CLUSTER)
  bytes.write('QFI\xfb', 0, 'latin1')
  bytes.writeUInt32BE(version, 4)
  bytes.writeUInt32BE(16, 20)
  bytes.writeBigUInt64BE(BigInt(DISK_BYTES), 24)
  bytes.writeUInt32BE(1, 36)
  bytes.writeBigUInt64BE(BigInt(3 * QCOW2_CLUSTER), 40)
  bytes.writeBigUInt64BE(BigInt(QCOW2_CLUSTER), 48)
  bytes.writeUInt32BE(1, 56)
  if (version === 3) {
    bytes.writeUInt32BE(4, 96)
    bytes.writeUInt32BE(112, 100)
    const names = { type: 0x6803f857, data: Buffer.from('\0\0dirty bit'.padEnd(48, '\0'), 'latin1') }
    qcow2Extensions(names).copy(bytes, 112)
  }
  bytes.writeBigUInt64BE(BigInt(2 * QCOW2_CLUSTER), QCOW2_CLUSTER)
  for (let cluster = 0; cluster < 4; cluster++) bytes.writeUInt16BE(1, 2 * QCOW2_CLUSTER + 2 * cluster)
  return bytes
}

export interface VmdkText {
  createType?: string
  parentCid?: string
  extents?: string[]
  more?: string[]
}

export const vmdkText = (text: VmdkText = {}): string =>
  [
    '# Disk DescriptorFile',
    'version=1',
    'CID=4da0f631',
    `parentCID=${text.parentCid ?? 'ffffffff'}`,
    `createType="${text.createType ?? 'monolithicSparse'}"`,
    '# Extent description',
    ...(text.extents ?? [`RW ${DISK_BYTES / SECTOR} SPARSE "disk.vmdk"`]),
    '#DDB',
    ...(text.more ?? []),
    'ddb.adapterType = "ide"',
    '',
  ].join('\n')

/** An empty VMDK in one file: header, text, directory, one table. */
export function goodVmdk(text: VmdkText = {}): Buffer {
  const bytes = Buffer.alloc(128 * SECTOR)
  bytes.write('KDMV', 0, 'latin1')
  bytes.writeUInt32LE(1, 4)
  bytes.writeUInt32LE(1, 8)
  bytes.writeBigUInt64LE(BigInt(DISK_BYTES / SECTOR), 12)
  bytes.writeBigUInt64LE(128n, 20)
  bytes.writeBigUInt64LE(1n, 28)
  bytes.writeBigUInt64LE(20n, 36)
  bytes.writeUInt32LE(512, 44)
  bytes.writeBigUInt64LE(21n, 56)
  bytes.writeBigUInt64LE(128n, 64)
  bytes.write('\n \r\n', 73, 'latin1')
  bytes.write(vmdkText(text), SECTOR, 'latin1')
  bytes.writeUInt32LE(22, 21 * SECTOR)
  return bytes
}

/** The same as a stream, whose second header at the end tells where the directory is. */
export function goodVmdkStream(): Buffer {
  const disk = goodVmdk({ createType: 'streamOptimized' })
  disk.writeUInt32LE(3, 4)
  disk.writeUInt32LE((1 << 16) | (1 << 17) | 1, 8)
  disk.writeUInt16LE(1, 77)
  const end = Buffer.alloc(3 * SECTOR)
  end.writeBigUInt64LE(1n, 0)
  end.writeUInt32LE(3, 12)
  disk.copy(end, SECTOR, 0, SECTOR)
  disk.writeBigUInt64LE(0xffffffffffffffffn, 56)
  return Buffer.concat([disk, end])
}

export function goodVdi(): Buffer {
  const bytes = Buffer.alloc(2 * MIB)
  bytes.write('<<< Oracle VM VirtualBox Disk Image >>>\n', 0, 'latin1')
  const fields = [
    [0x40, 0xbeda107f],
    [0x44, 0x00010001],
    [0x48, 0x180],
    [0x4c, 1],
    [0x154, 512],
    [0x158, MIB],
    [0x168, SECTOR],
    [0x170, DISK_BYTES],
    [0x178, MIB],
    [0x180, DISK_BYTES / MIB],
    [0x184, 1],
  ] as const
  for (const [offset, value] of fields) bytes.writeUInt32LE(value, offset)
  bytes.fill(0x11, 0x188, 0x198)
  bytes.fill(0xff, 512, 512 + 4 * (DISK_BYTES / MIB))
  bytes.writeUInt32LE(0, 512)
  return bytes
}

/** Writes the sum of a VHD header where it belongs. */
export function sealVhd(bytes: Buffer, at: number): Buffer {
  bytes.writeUInt32BE(0, at)
  let sum = 0
  for (const byte of bytes) sum += byte
  bytes.writeUInt32BE(~sum >>> 0, at)
  return bytes
}

export function vhdFooter(type: number, dataAt: bigint): Buffer {
  const footer = Buffer.alloc(SECTOR)
  footer.write('conectix', 0, 'latin1')
  footer.writeUInt32BE(2, 8)
  footer.writeUInt32BE(0x10000, 12)
  footer.writeBigUInt64BE(dataAt, 16)
  footer.write('qem2', 28, 'latin1')
  footer.writeBigUInt64BE(BigInt(DISK_BYTES), 40)
  footer.writeBigUInt64BE(BigInt(DISK_BYTES), 48)
  footer.writeUInt16BE(120, 56)
  footer.writeUInt8(4, 58)
  footer.writeUInt8(17, 59)
  footer.writeUInt32BE(type, 60)
  footer.fill(0x22, 68, 84)
  return sealVhd(footer, 64)
}

export const goodVhdFixed = (): Buffer => Buffer.concat([Buffer.alloc(DISK_BYTES), vhdFooter(2, 0xffffffffffffffffn)])

export function goodVhdDynamic(): Buffer {
  const footer = vhdFooter(3, BigInt(SECTOR))
  const header = Buffer.alloc(1024)
  header.write('cxsparse', 0, 'latin1')
  header.fill(0xff, 8, 16)
  header.writeBigUInt64BE(1536n, 16)
  header.writeUInt32BE(0x10000, 24)
  header.writeUInt32BE(DISK_BYTES / (2 * MIB), 28)
  header.writeUInt32BE(2 * MIB, 32)
  const table = Buffer.alloc(SECTOR, 0xff)
  return Buffer.concat([footer, sealVhd(header, 36), table, footer])
}

/** Writes the CRC of a VHDX structure where it belongs. */
export function sealVhdx(bytes: Buffer): Buffer {
  bytes.writeUInt32LE(crc32c(bytes, 4), 4)
  return bytes
}

export function goodVhdx(): Buffer {
  const bytes = Buffer.alloc(4 * MIB)
  bytes.write('vhdxfile', 0, 'latin1')
  for (const [sequence, at] of [64 * KIB, 128 * KIB].entries()) {
    const header = bytes.subarray(at, at + 4 * KIB)
    header.write('head', 0, 'latin1')
    header.writeBigUInt64LE(BigInt(sequence + 1), 8)
    header.writeUInt16LE(1, 66)
    header.writeUInt32LE(MIB, 68)
    header.writeBigUInt64LE(BigInt(MIB), 72)
    sealVhdx(header)
  }
  const regions = bytes.subarray(192 * KIB, 256 * KIB)
  regions.write('regi', 0, 'latin1')
  regions.writeUInt32LE(2, 8)
  const names = ['2DC27766-F623-4200-9D64-115E9BFD4A08', '8B7CA206-4790-4B9A-B8FE-575F050F886E']
  for (const [i, name] of names.entries()) {
    vhdxGuid(name).copy(regions, 16 + i * 32)
    regions.writeBigUInt64LE(BigInt((3 - i) * MIB), 32 + i * 32)
    regions.writeUInt32LE(MIB, 40 + i * 32)
    regions.writeUInt32LE(1, 44 + i * 32)
  }
  sealVhdx(regions).copy(bytes, 256 * KIB)

  const metadata = bytes.subarray(2 * MIB, 3 * MIB)
  metadata.write('metadata', 0, 'latin1')
  const items: [string, Buffer][] = [
    ['CAA16737-FA36-4D43-B3B6-33F0AA44E76B', Buffer.from([0, 0, 0x10, 0, 0, 0, 0, 0])],
    ['2FA54224-CD1B-4876-B211-5DBED83BF4B8', Buffer.from([0, 0, 0x40, 0, 0, 0, 0, 0])],
    ['BECA12AB-B2E6-4523-93EF-C309E000C746', Buffer.alloc(16, 0x33)],
    ['8141BF1D-A96F-4709-BA47-F233A8FAAB5F', Buffer.from([0, 2, 0, 0])],
    ['CDA348C7-445D-4471-9CC9-E9885251C556', Buffer.from([0, 2, 0, 0])],
  ]
  metadata.writeUInt16LE(items.length, 10)
  for (const [i, [name, data]] of items.entries()) {
    const at = 64 * KIB + i * 32
    vhdxGuid(name).copy(metadata, 32 + i * 32)
    metadata.writeUInt32LE(at, 48 + i * 32)
    metadata.writeUInt32LE(data.length, 52 + i * 32)
    metadata.writeUInt32LE(i === 0 ? 4 : 6, 56 + i * 32)
    data.copy(metadata, at)
  }
  return bytes
}

export function goodIso(): Buffer {
  const blocks = 20
  const bytes = Buffer.alloc(blocks * 2048)
  const volume = bytes.subarray(16 * 2048)
  volume.write('\x01CD001\x01', 0, 'latin1')
  volume.writeUInt32LE(blocks, 80)
  volume.writeUInt32BE(blocks, 84)
  volume.writeUInt16LE(2048, 128)
  volume.writeUInt16BE(2048, 130)
  bytes.write('\xffCD001\x01', 17 * 2048, 'latin1')
  return bytes
}

/** A disk with an MBR of one partition. */
export function goodRaw(): Buffer {
  const bytes = Buffer.alloc(128 * KIB)
  bytes.writeUInt8(0x83, 446 + 4)
  bytes.writeUInt32LE(8, 446 + 8)
  bytes.writeUInt32LE(200, 446 + 12)
  bytes.write('\x55\xaa', 510, 'latin1')
  return bytes
}
