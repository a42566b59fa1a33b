import { deflateRawSync } from 'node:zlib'
import { goodQcow2, QCOW2_CLUSTER } from './good-images.ts'

/** The disk that the bomb becomes, in bytes. */
export const BOMB_BYTES = 512 * 1024 ** 2

/**
 * A well-formed qcow2 of 400 KiB that becomes 512 MiB: every cluster is the same compressed one, which holds no zeros.
 * No header tells that.
 */
export function compressedBomb(): Buffer {
  const packed = deflateRawSync(Buffer.alloc(QCOW2_CLUSTER, 'boom'), { windowBits: 12 })
  const head = goodQcow2()
  const l2At = 4 * QCOW2_CLUSTER
  const dataAt = 5 * QCOW2_CLUSTER
  head.writeBigUInt64BE(BigInt(BOMB_BYTES), 24)
  head.writeBigUInt64BE(BigInt(l2At) | (1n << 63n), 3 * QCOW2_CLUSTER)
  const l2 = Buffer.alloc(QCOW2_CLUSTER)
  // Bit 62: compressed; from bit 54: how many sectors more than one.
  const sectors = BigInt(Math.ceil(packed.length / 512) - 1)
  for (let i = 0; i < QCOW2_CLUSTER / 8; i++)
    l2.writeBigUInt64BE((1n << 62n) | (sectors << 54n) | BigInt(dataAt), 8 * i)
  const data = Buffer.alloc(QCOW2_CLUSTER)
  packed.copy(data)
  return Buffer.concat([head, l2, data])
}
