import * as good from './good-images.ts'
import { changed, type HostileImage } from './hostile-image.ts'

const vmdk =
  (change: (bytes: Buffer) => void): (() => Buffer) =>
  () =>
    changed(good.goodVmdk(), change)
/** Attacks by VMDK: texts that name files. */
export const HOSTILE_VMDK: Omit<HostileImage, 'format'>[] = [
  {
    name: 'a text that names /etc/passwd',
    check: 'data-file',
    message: /only the text of a VMDK/,
    make: () => Buffer.from(good.vmdkText({ createType: 'monolithicFlat', extents: ['RW 8192 FLAT "/etc/passwd" 0'] })),
  },
  {
    name: 'a text that does not begin like one',
    check: 'data-file',
    message: /only the text of a VMDK/,
    make: () => Buffer.from('# harmless\n\nversion=1\ncreateType="monolithicFlat"\nRW 8192 FLAT "/etc/passwd" 0\n'),
  },
  ...[
    ['an absolute path', 'RW 8192 SPARSE "/var/lib/secret.vmdk"'],
    ['the directory above', 'RW 8192 SPARSE "../secret.vmdk"'],
    ['an address on the network', 'RW 8192 SPARSE "nbd:127.0.0.1:10809"'],
    ['raw bytes of a file', 'RW 8192 FLAT "passwd" 0'],
    ['an ESX server', 'RW 8192 VMFS "secret-flat.vmdk"'],
  ].map(([what, extent = '']) => ({
    name: `its text names another extent: ${what}`,
    check: 'data-file' as const,
    message: /data are in another file/,
    make: () => good.goodVmdk({ extents: [extent] }),
  })),
  {
    name: 'two extents',
    check: 'data-file',
    message: /2 files/,
    make: () => good.goodVmdk({ extents: ['RW 4096 SPARSE "a.vmdk"', 'RW 4096 SPARSE "b.vmdk"'] }),
  },
  ...['twoGbMaxExtentSparse', 'twoGbMaxExtentFlat', 'monolithicFlat', 'vmfs', 'fullDevice', 'custom'].map(
    (createType) => ({
      name: `of the kind ${createType}`,
      check: 'data-file' as const,
      message: new RegExp(`kind '${createType}'`),
      make: () => good.goodVmdk({ createType }),
    }),
  ),
  {
    name: 'one part of twoGbMaxExtentSparse, without a text',
    check: 'data-file',
    message: /one part of a VMDK/,
    make: vmdk((bytes) => bytes.writeBigUInt64LE(0n, 28)),
  },
  {
    name: 'no size of its own, so that its text is followed',
    check: 'data-file',
    message: /only names of files/,
    make: vmdk((bytes) => bytes.writeBigUInt64LE(0n, 12)),
  },
  {
    name: 'a parent, by its number',
    check: 'backing-file',
    message: /has a parent/,
    make: () => good.goodVmdk({ parentCid: '12345678' }),
  },
  {
    name: 'a parent, by its name',
    check: 'backing-file',
    message: /overlay/,
    make: () => good.goodVmdk({ more: ['parentFileNameHint="/etc/passwd"'] }),
  },
  {
    name: 'a parent, named where its header says the text has ended',
    check: 'backing-file',
    message: /overlay/,
    make: vmdk((bytes) => {
      bytes.writeBigUInt64LE(1n, 36)
      bytes.fill('#', 512 + good.vmdkText().length, 1024)
      bytes.write('\nparentFileNameHint="/etc/passwd"\n', 1024)
    }),
  },
  {
    name: 'its text in another place, where a tool does not look',
    check: 'header',
    message: /not in its place/,
    make: vmdk((bytes) => bytes.writeBigUInt64LE(30n, 28)),
  },
  {
    name: 'two sizes',
    check: 'virtual-size',
    message: /two sizes/,
    make: vmdk((bytes) => bytes.writeBigUInt64LE(16384n, 12)),
  },
  {
    name: 'a directory behind the end of the file',
    check: 'tables',
    message: /not inside its file/,
    make: vmdk((bytes) => bytes.writeBigUInt64LE(2n ** 50n, 56)),
  },
  {
    name: 'a stream whose last header is another disk',
    check: 'header-copy',
    message: /do not agree/,
    make: () => changed(good.goodVmdkStream(), (bytes) => bytes.writeBigUInt64LE(0n, bytes.length - 1024 + 12)),
  },
  {
    name: 'a stream that was cut off',
    check: 'header-copy',
    message: /cut off/,
    make: () => good.goodVmdkStream().subarray(0, -512),
  },
  {
    name: 'of the old kind of ESX',
    check: 'version',
    message: /ESX/,
    make: vmdk((bytes) => bytes.write('COWD', 0)),
  },
]
