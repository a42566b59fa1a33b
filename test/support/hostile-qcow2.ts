import * as good from './good-images.ts'
import { changed, type HostileImage, overlayOf } from './hostile-image.ts'

const MIB = 1024 ** 2

const withExtensions = (...list: { type: number; data: Buffer }[]): Buffer =>
  changed(good.goodQcow2(), (bytes) => good.qcow2Extensions(...list).copy(bytes, 112))

const qcow2 =
  (change: (bytes: Buffer) => void): (() => Buffer) =>
  () =>
    changed(good.goodQcow2(), change)
/** What a decompressor makes 64 KiB of, in a few bytes, shared by every cluster of 2 TiB. */
const bomb = (virtualBytes: number) => (bytes: Buffer) => {
  bytes.writeBigUInt64BE(BigInt(virtualBytes), 24)
  const entries = Math.ceil(virtualBytes / (512 * MIB))
  bytes.writeUInt32BE(entries, 36)
  for (let i = 0; i < Math.min(entries, 8192); i++) bytes.writeBigUInt64BE(0x30000n, 3 * good.QCOW2_CLUSTER + 8 * i)
}

/** Attacks by QCOW2: files below and beside, sizes that lie, tables that lead out. */
export const HOSTILE_QCOW2: Omit<HostileImage, 'format'>[] = [
  ...[
    ['an absolute path', '/etc/shadow'],
    ['a json: tree', 'json:{"driver":"raw","file":{"driver":"file","filename":"/etc/shadow"}}'],
    ['an address on the network', 'nbd://127.0.0.1:10809/secret'],
    ['a directory as a FAT disk', 'fat:/etc'],
    ['a name beside it', 'other.qcow2'],
  ].map(([what, name = '']) => ({
    name: `backing file: ${what}`,
    check: 'backing-file' as const,
    message: /overlay of another file \('.+'\).*qemu-img convert/,
    make: () => overlayOf(name),
  })),
  {
    name: 'backing file whose name lies right behind the header',
    check: 'backing-file',
    message: /'\/etc\/passwd'/,
    make: () => overlayOf('/etc/passwd', 120),
  },
  {
    name: 'backing file whose name lies in the last bytes of the file',
    check: 'backing-file',
    message: /'\/etc\/passwd'/,
    make: () => overlayOf('/etc/passwd', 4 * good.QCOW2_CLUSTER - 11),
  },
  {
    name: 'backing file whose name lies outside the file',
    check: 'backing-file',
    message: /overlay of another file\./,
    make: qcow2((bytes) => bytes.writeBigUInt64BE(2n ** 63n, 8)),
  },
  {
    name: "backing file's length without a place",
    check: 'backing-file',
    message: /overlay/,
    make: qcow2((bytes) => bytes.writeUInt32BE(11, 16)),
  },
  {
    name: 'format of a backing file without one',
    check: 'backing-file',
    message: /format of a backing file/,
    make: () => withExtensions({ type: 0xe2792aca, data: Buffer.from('raw') }),
  },
  {
    name: 'external data file, as its feature bit says',
    check: 'data-file',
    message: /data in another file/,
    make: qcow2((bytes) => bytes.writeBigUInt64BE(4n, 72)),
  },
  {
    name: 'external data file, as an extension without the bit',
    check: 'data-file',
    message: /'\/etc\/shadow'/,
    make: () => withExtensions({ type: 0x44415441, data: Buffer.from('/etc/shadow') }),
  },
  {
    name: 'external data file, as an extension behind a known one',
    check: 'data-file',
    message: /'\/dev\/sda'/,
    make: () =>
      withExtensions({ type: 0x6803f857, data: Buffer.alloc(96) }, { type: 0x44415441, data: Buffer.from('/dev/sda') }),
  },
  {
    name: 'extensions that never end',
    check: 'extensions',
    message: /no end|cut off/,
    make: qcow2((bytes) => bytes.fill(0x77, 112, good.QCOW2_CLUSTER)),
  },
  {
    name: 'a header that is longer than its cluster',
    check: 'header',
    message: /header says it is \d+ bytes/,
    make: qcow2((bytes) => bytes.writeUInt32BE(0x20000, 100)),
  },
  {
    name: 'header fields of a version that does not exist',
    check: 'header',
    message: /not known here/,
    make: qcow2((bytes) => {
      bytes.writeUInt32BE(0x1000, 100)
      bytes.write('/etc/passwd', 200)
    }),
  },
  {
    name: 'a feature nobody knows',
    check: 'features',
    message: /feature that is not known/,
    make: qcow2((bytes) => bytes.writeBigUInt64BE(1n << 40n, 72)),
  },
  {
    name: 'marked as corrupt',
    check: 'features',
    message: /corrupt.*qemu-img check/,
    make: qcow2((bytes) => bytes.writeBigUInt64BE(2n, 72)),
  },
  {
    name: 'never closed',
    check: 'features',
    message: /not closed/,
    make: qcow2((bytes) => bytes.writeBigUInt64BE(1n, 72)),
  },
  {
    name: 'encrypted with AES',
    check: 'encryption',
    message: /AES/,
    make: qcow2((bytes) => bytes.writeUInt32BE(1, 32)),
  },
  {
    name: 'encrypted with LUKS inside',
    check: 'encryption',
    message: /LUKS/,
    make: qcow2((bytes) => bytes.writeUInt32BE(2, 32)),
  },
  {
    name: 'clusters of 2^31 bytes',
    check: 'header',
    message: /clusters of 2\^31/,
    make: qcow2((bytes) => bytes.writeUInt32BE(31, 20)),
  },
  {
    name: 'a disk of 2^63 bytes',
    check: 'virtual-size',
    message: /larger than any disk/,
    make: qcow2((bytes) => bytes.writeBigUInt64BE(2n ** 63n, 24)),
  },
  {
    name: 'a disk of no bytes',
    check: 'virtual-size',
    message: /no size/,
    make: qcow2((bytes) => bytes.writeBigUInt64BE(0n, 24)),
  },
  {
    name: 'an L1 table too small for the size',
    check: 'tables',
    message: /too small/,
    make: qcow2((bytes) => bytes.writeBigUInt64BE(BigInt(8 * 1024 ** 3), 24)),
  },
  {
    name: 'an L1 table of 32 GiB',
    check: 'tables',
    message: /not inside its file/,
    make: qcow2((bytes) => bytes.writeUInt32BE(0xffffffff, 36)),
  },
  {
    name: 'an L1 table behind the end of the file',
    check: 'tables',
    message: /not inside its file/,
    make: qcow2((bytes) => bytes.writeBigUInt64BE(2n ** 62n, 40)),
  },
  {
    name: 'a table of references over the header',
    check: 'tables',
    message: /not inside its file/,
    make: qcow2((bytes) => bytes.writeBigUInt64BE(0n, 48)),
  },
  {
    name: 'four thousand million snapshots',
    check: 'snapshots',
    message: /4294967295 snapshots/,
    make: qcow2((bytes) => bytes.writeUInt32BE(0xffffffff, 60)),
  },
  {
    name: 'a table of snapshots behind the end of the file',
    check: 'snapshots',
    message: /not inside its file/,
    make: qcow2((bytes) => {
      bytes.writeUInt32BE(3, 60)
      bytes.writeBigUInt64BE(2n ** 40n, 64)
    }),
  },
  {
    name: 'compressed bomb: 2 TiB in 256 KiB, all clusters one',
    check: 'size-limit',
    message: /2048 GiB large; .* at most 1024 GiB/,
    make: qcow2(bomb(2 * 1024 ** 4)),
  },
  {
    name: 'the old qcow, of version 1',
    check: 'version',
    message: /version 1; 2 and 3/,
    make: qcow2((bytes) => bytes.writeUInt32BE(1, 4)),
  },
  {
    name: 'a VMDK text hidden in its header cluster',
    check: 'other-format',
    message: /hides the text of a VMDK/,
    make: qcow2((bytes) => bytes.write(good.vmdkText(), 0x400)),
  },
  {
    name: 'polyglot: an ISO too',
    check: 'other-format',
    message: /qcow2 disk and like an ISO 9660 image at once/,
    make: () => changed(good.goodIso(), (bytes) => good.goodQcow2().copy(bytes, 0, 0, 512)),
  },
]
