/** Bytes that can be read anywhere: an uploaded file, or a buffer. */
export interface ByteSource {
  readonly sizeBytes: number
  /** What lies there; shorter, or empty, where the bytes end. */
  read(offset: number, length: number): Promise<Buffer>
}

/** The byte orders that disk formats use, by their header. */
export type ByteOrder = 'big' | 'little'

/**
 * A 64-bit number of a header. Exact up to 2^53; beyond it is rounded, and still larger than any limit it is held
 * against.
 */
export const readU64 = (buffer: Buffer, offset: number, order: ByteOrder): number =>
  Number(order === 'big' ? buffer.readBigUInt64BE(offset) : buffer.readBigUInt64LE(offset))

/** Whether none of the bytes is set. */
export const isZero = (bytes: Buffer): boolean => bytes.every((byte) => byte === 0)
