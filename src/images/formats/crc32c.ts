/** CRC-32C (Castagnoli), which VHDX guards its headers with; Node's own is another polynomial. */

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
  return crc >>> 0
})

/** The CRC of the bytes as if the four at `zeroAt` were zero, where their own sum is written. */
export function crc32c(bytes: Buffer, zeroAt = -4): number {
  let crc = 0xffffffff
  for (let i = 0; i < bytes.length; i++) {
    const byte = i >= zeroAt && i < zeroAt + 4 ? 0 : (bytes[i] ?? 0)
    crc = (crc >>> 8) ^ (TABLE[(crc ^ byte) & 0xff] ?? 0)
  }
  return ~crc >>> 0
}
