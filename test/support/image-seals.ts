import { sealVhd, sealVhdx } from './good-images.ts'
import type { PatchedBytes } from './patched-bytes.ts'

/** Mends the checksums of an image whose headers were changed, so that a reader comes past them. */
export type Seal = (bytes: PatchedBytes) => void

const SECTOR = 512

const copyOf = (bytes: PatchedBytes, offset: number, length: number): Buffer => Buffer.from(bytes.slice(offset, length))

/** By format; VHD also gets its copy of the footer. */
export const CHECKSUM_SEALS = {
  vhdFixed(bytes) {
    const at = bytes.sizeBytes - SECTOR
    if (at >= 0) bytes.patch(at, sealVhd(copyOf(bytes, at, SECTOR), 64))
  },
  vhdDynamic(bytes) {
    if (bytes.sizeBytes < 4 * SECTOR) return
    const footer = sealVhd(copyOf(bytes, 0, SECTOR), 64)
    bytes.patch(0, footer)
    bytes.patch(SECTOR, sealVhd(copyOf(bytes, SECTOR, 2 * SECTOR), 36))
    bytes.patch(bytes.sizeBytes - SECTOR, footer)
  },
  vhdx(bytes) {
    for (const at of [0x10000, 0x20000]) {
      const header = copyOf(bytes, at, 0x1000)
      if (header.length === 0x1000) bytes.patch(at, sealVhdx(header))
    }
    const regions = copyOf(bytes, 0x30000, 0x10000)
    // Summing them up is slow, and mostly they are as they were, both.
    if (regions.length !== 0x10000 || regions.equals(bytes.slice(0x40000, 0x10000))) return
    const sealed = sealVhdx(regions)
    bytes.patch(0x30000, sealed)
    bytes.patch(0x40000, sealed)
  },
} satisfies Record<string, Seal>
