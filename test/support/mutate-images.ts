/** Disks with changed headers, as many as wanted, each made anew from a seed and its number. */

import * as good from './good-images.ts'
import { CHECKSUM_SEALS, type Seal } from './image-seals.ts'
import { PatchedBytes } from './patched-bytes.ts'

/** A good image and where its headers are. */
interface Ground {
  format: string
  bytes: Buffer
  /** Offset and length of what is worth changing. */
  zones: readonly (readonly [offset: number, length: number])[]
  byteOrder: 'big' | 'little'
  seal?: Seal
}

const MIB = 1024 ** 2
const END = good.DISK_BYTES

const GROUNDS: Ground[] = [
  { format: 'qcow2', bytes: good.goodQcow2(2), zones: [[0, 80]], byteOrder: 'big' },
  {
    format: 'qcow2',
    bytes: good.goodQcow2(3),
    zones: [
      [0, 112],
      [112, 80],
    ],
    byteOrder: 'big',
  },
  { format: 'qcow2', bytes: good.goodQcow2(3), zones: [[4, 108]], byteOrder: 'big' },
  {
    format: 'vmdk',
    bytes: good.goodVmdk(),
    zones: [
      [0, 80],
      [512, 320],
    ],
    byteOrder: 'little',
  },
  {
    format: 'vmdk',
    bytes: good.goodVmdkStream(),
    zones: [
      [0, 80],
      [512, 320],
      [128 * 512, 20],
      [129 * 512, 80],
    ],
    byteOrder: 'little',
  },
  {
    format: 'vdi',
    bytes: good.goodVdi(),
    zones: [
      [0x40, 24],
      [0x154, 0x74],
    ],
    byteOrder: 'little',
  },
  { format: 'vhd', bytes: good.goodVhdFixed(), zones: [[END, 85]], byteOrder: 'big', seal: CHECKSUM_SEALS.vhdFixed },
  {
    format: 'vhd',
    bytes: good.goodVhdDynamic(),
    zones: [
      [0, 85],
      [512, 160],
    ],
    byteOrder: 'big',
    seal: CHECKSUM_SEALS.vhdDynamic,
  },
  {
    format: 'vhdx',
    bytes: good.goodVhdx(),
    zones: [
      [0x10000, 80],
      [0x20000, 80],
      [0x30000, 80],
      [2 * MIB, 200],
      [2 * MIB + 0x10000, 160],
    ],
    byteOrder: 'little',
    seal: CHECKSUM_SEALS.vhdx,
  },
  { format: 'iso', bytes: good.goodIso(), zones: [[0x8000, 132]], byteOrder: 'little' },
  { format: 'raw', bytes: good.goodRaw(), zones: [[0, 512]], byteOrder: 'little' },
]

const MAGICS = [
  'QFI\xfb',
  'KDMV',
  'COWD',
  'QED\0',
  'conectix',
  'vhdxfile',
  'LUKS\xba\xbe',
  'CD001',
  '# Disk Desc',
  '\x1f\x8b\x08',
]
const MAGIC_PLACES = [0, 0x40, 0x200, 0x4000, 0x8001, 0x10000]
const WORDS = ['parentFileNameHint="/etc/passwd"\n', '/etc/passwd', '"', '\n', '=', ' FLAT ', 'json:{', '\0', 'RW 1 ']
const EDGES = [0n, 1n, 2n, 3n, 4n, 8n, 9n, 511n, 512n, 2n ** 16n, 2n ** 20n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 53n]
const FORMATS = ['raw', 'qcow2', 'vmdk', 'vdi', 'vhd', 'vhdx', 'iso', 'ami', 'aki', 'qed', '__proto__']

/** Answers a whole number below `limit`, each time another. */
export type Dice = (limit: number) => number

/** The same throws for the same seed. Source: mulberry32, by Tommy Ettinger, in the public domain. */
export function diceOf(seed: number): Dice {
  let state = seed >>> 0
  return (limit) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit
  }
}

const pick = <T>(dice: Dice, from: readonly T[]): T => from[dice(from.length)] as T

export interface Mutant {
  declared: string
  /** The format it was made from. */
  ground: string
  bytes: PatchedBytes
}

/** One image with one to five changes; its checksums are mended more often than not. */
export function mutantOf(seed: number, index: number): Mutant {
  const dice = diceOf(Math.imul(seed, 0x9e3779b1) ^ Math.imul(index + 1, 0x85ebca6b))
  const ground = pick(dice, GROUNDS)
  const bytes = new PatchedBytes(ground.bytes)
  for (let i = 1 + dice(dice(3) === 0 ? 5 : 1); i > 0; i--) mutate(dice, ground, bytes)
  if (ground.seal && dice(4) > 0) ground.seal(bytes)
  const declared = dice(12) === 0 ? pick(dice, FORMATS) : ground.format
  return { declared, ground: ground.format, bytes }
}

function mutate(dice: Dice, { zones, byteOrder, bytes: base }: Ground, bytes: PatchedBytes): void {
  const [zoneAt, zoneLength] = pick(dice, zones)
  const at = zoneAt + dice(zoneLength)
  switch (dice(9)) {
    case 0:
      bytes.patch(at, Buffer.from([dice(256)]))
      return
    case 1:
      bytes.patch(at, Buffer.from([(bytes.slice(at, 1)[0] ?? 0) ^ (1 << dice(8))]))
      return
    case 2:
    case 3:
      bytes.patch(at - (at % 4), number(dice, dice(2) === 0 ? 4 : 8, byteOrder, base.length))
      return
    case 4: {
      const length = 1 + dice(32)
      bytes.patch(at, bytes.slice(zoneAt + dice(zoneLength), length))
      return
    }
    case 5:
      bytes.patch(at, Buffer.alloc(1 + dice(24), dice(2) * 0xff))
      return
    case 6:
      bytes.patch(dice(3) === 0 ? at : pick(dice, MAGIC_PLACES), Buffer.from(pick(dice, MAGICS), 'latin1'))
      return
    case 7:
      bytes.patch(at, Buffer.from(pick(dice, WORDS), 'latin1'))
      return
    default: {
      // The file ends sooner, or goes on.
      const isSmall = dice(3) === 0
      bytes.sizeBytes = isSmall ? dice(1024) : Math.max(0, base.length + dice(4096) - 2048)
    }
  }
}

function number(dice: Dice, length: 4 | 8, order: 'big' | 'little', near: number): Buffer {
  const value = pick(dice, [...EDGES, 2n ** 63n, 2n ** 64n - 1n, BigInt(near), BigInt(near - 512), BigInt(dice(65536))])
  const bytes = Buffer.alloc(8)
  // A format that has one order may still have a field in the other, as ISO 9660 has.
  const isBig = dice(8) === 0 ? order !== 'big' : order === 'big'
  if (isBig) bytes.writeBigUInt64BE(BigInt.asUintN(length * 8, value) << BigInt(64 - length * 8))
  else bytes.writeBigUInt64LE(BigInt.asUintN(64, value))
  return bytes.subarray(0, length)
}
