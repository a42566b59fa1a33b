import type { Inspection } from './inspection.ts'

const SECTOR_BYTES = 512
const BLOCK_BYTES = 2048
const PRIMARY_AT = 16 * BLOCK_BYTES

/**
 * An ISO 9660 image, hybrid or not; the guest sees the file as it is.
 * Source: ECMA-119, 8.4 (primary volume descriptor).
 */
export function readIso(inspection: Inspection): number {
  const { checks, sizeBytes } = inspection
  const volume = inspection.atLeast(PRIMARY_AT + BLOCK_BYTES).subarray(PRIMARY_AT, PRIMARY_AT + BLOCK_BYTES)
  const isPrimary = volume[0] === 1 && volume.toString('latin1', 1, 6) === 'CD001'
  checks.demand(isPrimary, 'magic', 'The file is no ISO 9660 image: it has no primary volume descriptor at 32 KiB.')
  checks.pass('magic')
  checks.demand(volume[6] === 1, 'version', `The ISO 9660 image is of version ${volume[6]}; version 1 is taken.`)
  checks.pass('version')
  const blocks = volume.readUInt32LE(80)
  const blockBytes = volume.readUInt16LE(128)
  checks.demand(
    blocks === volume.readUInt32BE(84) && blockBytes === volume.readUInt16BE(130),
    'header-copy',
    'The ISO 9660 image tells two sizes of itself. It is damaged, or made to mislead.',
  )
  checks.pass('header-copy')
  checks.demand(
    blockBytes === BLOCK_BYTES,
    'header',
    `The ISO 9660 image has blocks of ${blockBytes} bytes; 2048 are taken.`,
  )
  checks.demand(
    blocks * BLOCK_BYTES <= sizeBytes,
    'tables',
    `The ISO 9660 image says it has ${blocks * BLOCK_BYTES} bytes, but the file has ${sizeBytes}. Upload all of it.`,
  )
  checks.pass('tables')
  return inspection.virtualSize(Math.ceil(sizeBytes / SECTOR_BYTES) * SECTOR_BYTES)
}
