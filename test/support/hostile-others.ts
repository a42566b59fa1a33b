import { crc32c } from '../../src/images/formats/crc32c.ts'
import { vhdxGuid } from '../../src/images/formats/vhdx-guid.ts'
import * as good from './good-images.ts'
import { changed, type HostileImage, overlayOf } from './hostile-image.ts'

const MIB = 1024 ** 2

const vdi =
  (change: (bytes: Buffer) => void): (() => Buffer) =>
  () =>
    changed(good.goodVdi(), change)
const iso =
  (change: (bytes: Buffer) => void): (() => Buffer) =>
  () =>
    changed(good.goodIso(), change)

/** Changes the footer of a fixed VHD, and its sum. */
const vhd =
  (change: (footer: Buffer) => void): (() => Buffer) =>
  () =>
    changed(good.goodVhdFixed(), (bytes) => {
      const footer = bytes.subarray(bytes.length - 512)
      change(footer)
      good.sealVhd(footer, 64)
    })

/** Changes both copies of the footer of a dynamic VHD and its second header, and their sums. */
const vhdDynamic =
  (change: (footer: Buffer, header: Buffer) => void): (() => Buffer) =>
  () =>
    changed(good.goodVhdDynamic(), (bytes) => {
      const footer = bytes.subarray(0, 512)
      const header = bytes.subarray(512, 1536)
      change(footer, header)
      good.sealVhd(footer, 64)
      good.sealVhd(header, 36)
      footer.copy(bytes, bytes.length - 512)
    })

const vhdx =
  (change: (bytes: Buffer) => void): (() => Buffer) =>
  () =>
    changed(good.goodVhdx(), (bytes) => {
      change(bytes)
      for (const [from, to] of [
        [0x10000, 0x11000],
        [0x20000, 0x21000],
        [0x30000, 0x40000],
        [0x40000, 0x50000],
      ] as const) {
        const part = bytes.subarray(from, to)
        part.writeUInt32LE(crc32c(part, 4), 4)
      }
    })

/** Attacks by the other formats, and by declaring one format as another. */
export const HOSTILE_OTHERS: HostileImage[] = [
  {
    name: 'the differences to another disk',
    format: 'vdi',
    check: 'backing-file',
    message: /differences/,
    make: vdi((bytes) => bytes.writeUInt32LE(4, 0x4c)),
  },
  {
    name: 'a parent of a disk that says it has none',
    format: 'vdi',
    check: 'backing-file',
    message: /differences/,
    make: vdi((bytes) => bytes.fill(7, 0x1b8, 0x1c8)),
  },
  {
    name: 'a table too small for the size',
    format: 'vdi',
    check: 'tables',
    message: /does not fit its size/,
    make: vdi((bytes) => bytes.writeUInt32LE(64 * MIB, 0x170)),
  },
  {
    name: 'more blocks than the file has',
    format: 'vdi',
    check: 'tables',
    message: /4 blocks/,
    make: vdi((bytes) => bytes.writeUInt32LE(4, 0x184)),
  },
  {
    name: 'the differences to another disk',
    format: 'vhd',
    check: 'backing-file',
    message: /differences/,
    make: vhdDynamic((footer) => footer.writeUInt32BE(4, 60)),
  },
  {
    name: 'a parent of a disk that says it has none',
    format: 'vhd',
    check: 'backing-file',
    message: /names a parent/,
    make: vhdDynamic((_footer, header) => header.write('/etc/passwd', 64, 'utf16le')),
  },
  {
    name: 'fixed, of another size than the file',
    format: 'vhd',
    check: 'tables',
    message: /footer says the disk has 8388608 bytes, but the file has 4194304/,
    make: vhd((footer) => footer.writeBigUInt64BE(8n * BigInt(MIB), 48)),
  },
  {
    name: 'a footer that was changed',
    format: 'vhd',
    check: 'checksum',
    message: /checksum/,
    make: () => changed(good.goodVhdFixed(), (bytes) => bytes.writeUInt8(9, bytes.length - 512 + 70)),
  },
  {
    name: 'a copy of the footer that says otherwise',
    format: 'vhd',
    check: 'header-copy',
    message: /do not agree/,
    make: () => changed(good.goodVhdDynamic(), (bytes) => bytes.writeUInt32BE(4, 60)),
  },
  {
    name: 'a table too small for the size',
    format: 'vhd',
    check: 'tables',
    message: /does not fit its size/,
    make: vhdDynamic((footer) => footer.writeBigUInt64BE(64n * BigInt(MIB), 48)),
  },
  {
    name: 'the differences to another disk',
    format: 'vhdx',
    check: 'backing-file',
    message: /differences/,
    make: vhdx((bytes) => bytes.writeUInt32LE(2, 2 * MIB + 0x10004)),
  },
  {
    name: 'a parent of a disk that says it has none',
    format: 'vhdx',
    check: 'backing-file',
    message: /names a parent/,
    make: vhdx((bytes) => vhdxGuid('A8D35F2D-B30B-454D-ABF7-D3D84834AB0C').copy(bytes, 2 * MIB + 32 + 4 * 32)),
  },
  {
    name: 'a log that waits to be replayed',
    format: 'vhdx',
    check: 'features',
    message: /log waits/,
    make: vhdx((bytes) => bytes.fill(5, 0x20000 + 48, 0x20000 + 64)),
  },
  {
    name: 'regions that do not agree',
    format: 'vhdx',
    check: 'header-copy',
    message: /do not agree/,
    make: vhdx((bytes) => bytes.writeUInt32LE(1, 0x40000 + 8)),
  },
  {
    name: 'a disk of 2^63 bytes',
    format: 'vhdx',
    check: 'virtual-size',
    message: /larger than VHDX/,
    make: vhdx((bytes) => bytes.writeBigUInt64LE(2n ** 63n, 2 * MIB + 0x10020)),
  },
  {
    name: 'a volume of 8 TiB in 40 KiB',
    format: 'iso',
    check: 'tables',
    message: /Upload all of it/,
    make: iso((bytes) => {
      bytes.writeUInt32LE(0xffffffff, 0x8000 + 80)
      bytes.writeUInt32BE(0xffffffff, 0x8000 + 84)
    }),
  },
  {
    name: 'two sizes',
    format: 'iso',
    check: 'header-copy',
    message: /two sizes/,
    make: iso((bytes) => bytes.writeUInt32BE(7, 0x8000 + 84)),
  },
  {
    name: 'polyglot: a QCOW2 that leans on a file too',
    format: 'iso',
    check: 'other-format',
    message: /iso disk and like a QCOW2 disk at once/,
    make: () => changed(good.goodIso(), (bytes) => overlayOf('/etc/passwd', 0x200).copy(bytes, 0, 0, 0x400)),
  },
  ...(
    [
      ['QCOW2', () => overlayOf('/etc/passwd')],
      ['VMDK', () => good.goodVmdk()],
      ['VMDK descriptor', () => Buffer.from(good.vmdkText({ extents: ['RW 8 FLAT "/etc/passwd" 0'] }))],
      ['VDI', good.goodVdi],
      ['VHD', good.goodVhdFixed],
      ['VHD', good.goodVhdDynamic],
      ['VHDX', good.goodVhdx],
      ['ISO 9660', good.goodIso],
      ['QED', () => changed(good.goodRaw(), (bytes) => bytes.write('QED\0', 0, 'latin1'))],
      ['LUKS', () => changed(good.goodRaw(), (bytes) => bytes.write('LUKS\xba\xbe', 0, 'latin1'))],
      ['LUKS', () => changed(good.goodRaw(), (bytes) => bytes.write('SKUL\xba\xbe', 0x4000, 'latin1'))],
      ['Parallels', () => changed(good.goodRaw(), (bytes) => bytes.write('WithoutFreeSpace', 0))],
      ['Apple disk', () => changed(good.goodRaw(), (bytes) => bytes.write('koly', bytes.length - 512))],
    ] as const
  ).flatMap(([label, make]) =>
    ['raw', 'ami', 'aki'].map((format) => ({
      name: `${format} that is ${label}`,
      format,
      check: 'other-format' as const,
      message: new RegExp(`declared as ${format}, but looks like an? ${label}`),
      make,
    })),
  ),
  {
    name: 'raw that is compressed',
    format: 'raw',
    check: 'magic',
    message: /gzip.*Unpack/,
    make: () => changed(good.goodRaw(), (bytes) => bytes.write('\x1f\x8b\x08', 0, 'latin1')),
  },
  {
    name: 'raw that is an OVA',
    format: 'raw',
    check: 'magic',
    message: /OVA/,
    make: () =>
      changed(Buffer.alloc(10240), (bytes) => {
        bytes.write('appliance.ovf', 0)
        bytes.write('ustar', 257)
      }),
  },
  { name: 'nothing', format: 'raw', check: 'magic', message: /empty/, make: () => Buffer.alloc(0) },
  { name: 'one byte', format: 'qcow2', check: 'magic', message: /no QCOW2/, make: () => Buffer.alloc(1, 0x51) },
  { name: 'a format nobody takes', format: 'qed', check: 'format', message: /not taken/, make: good.goodRaw },
  {
    name: 'a format called like a method',
    format: 'constructor',
    check: 'format',
    message: /not taken/,
    make: good.goodRaw,
  },
]
