import type { CheckName } from '../../src/images/formats/verdict.ts'
import * as good from './good-images.ts'

/** A known attack on whoever opens a disk image, made by code. */
export interface HostileImage {
  /** A sentence: what it tries. */
  name: string
  /** What its uploader declares it to be. */
  format: string
  check: CheckName
  message: RegExp
  make: () => Buffer
}

/** Changes a buffer in place. */
export const changed = (bytes: Buffer, change: (bytes: Buffer) => void): Buffer => {
  change(bytes)
  return bytes
}

const BACKING_AT = 0x1000

/** A qcow2 that names another file as the one below it. */
export const overlayOf = (name: string, at = BACKING_AT): Buffer =>
  changed(good.goodQcow2(), (bytes) => {
    bytes.writeBigUInt64BE(BigInt(at), 8)
    bytes.writeUInt32BE(name.length, 16)
    bytes.write(name, at, 'latin1')
  })
