import { readU64 } from './byte-source.ts'
import type { Inspection } from './inspection.ts'
import { VHDX_AGAIN as AGAIN, vhdxGuid } from './vhdx-guid.ts'

const TABLE_BYTES = 64 * 1024
const MOST_ITEMS = 1023
const MIB = 1024 ** 2
const LARGEST_BYTES = 64 * 1024 ** 4

/** Source: [MS-VHDX] 2.6.2, known metadata items, with how long each is. */
const ITEMS = [
  { key: 'parameters', guid: vhdxGuid('CAA16737-FA36-4D43-B3B6-33F0AA44E76B'), bytes: 8 },
  { key: 'size', guid: vhdxGuid('2FA54224-CD1B-4876-B211-5DBED83BF4B8'), bytes: 8 },
  { key: 'sector', guid: vhdxGuid('8141BF1D-A96F-4709-BA47-F233A8FAAB5F'), bytes: 4 },
  { key: 'physicalSector', guid: vhdxGuid('CDA348C7-445D-4471-9CC9-E9885251C556'), bytes: 4 },
  { key: 'identity', guid: vhdxGuid('BECA12AB-B2E6-4523-93EF-C309E000C746'), bytes: 16 },
] as const
const PARENT_LOCATOR = vhdxGuid('A8D35F2D-B30B-454D-ABF7-D3D84834AB0C')
const HAS_PARENT = 1 << 1
const IS_REQUIRED = 1 << 2

const WHOLE = 'Upload it whole: qemu-img convert -O vhdx FILE WHOLE.vhdx'

/**
 * What the metadata region says of the disk.
 * @throws RefusalError also for a disk that has a parent.
 */
export async function readVhdxMetadata(
  inspection: Inspection,
  regionAt: number,
  regionBytes: number,
): Promise<{ virtualBytes: number; blockBytes: number; sectorBytes: number }> {
  const { checks } = inspection
  const table = await inspection.read(regionAt, TABLE_BYTES)
  const count = table.readUInt16LE(10)
  checks.demand(
    table.toString('latin1', 0, 8) === 'metadata' && count <= MOST_ITEMS,
    'header',
    `The VHDX disk's metadata are not whole. ${AGAIN}`,
  )
  const found = new Map<string, Buffer>()
  for (let i = 0; i < count; i++) {
    const entry = table.subarray(32 + i * 32, 64 + i * 32)
    const name = entry.subarray(0, 16)
    checks.demand(!name.equals(PARENT_LOCATOR), 'backing-file', `The VHDX disk names a parent. ${WHOLE}`)
    const item = ITEMS.find(({ guid }) => guid.equals(name))
    if (item === undefined) {
      const isRequired = (entry.readUInt32LE(24) & IS_REQUIRED) !== 0
      checks.demand(!isRequired, 'features', 'The VHDX disk needs a feature that is not known here.')
      continue
    }
    const [offset, length] = [entry.readUInt32LE(16), entry.readUInt32LE(20)]
    checks.demand(
      length === item.bytes && offset >= TABLE_BYTES && offset + length <= regionBytes && !found.has(item.key),
      'header',
      `The VHDX disk's metadata are not whole. ${AGAIN}`,
    )
    found.set(item.key, await inspection.read(regionAt + offset, length))
  }
  const [parameters, size, sector] = [found.get('parameters'), found.get('size'), found.get('sector')]
  if (parameters === undefined || size === undefined || sector === undefined) {
    return checks.refuse('header', `The VHDX disk's metadata are not whole. ${AGAIN}`)
  }
  checks.demand(
    (parameters.readUInt32LE(4) & HAS_PARENT) === 0,
    'backing-file',
    `The VHDX disk holds only the differences to another disk. ${WHOLE}`,
  )
  checks.pass('backing-file', 'none')
  const blockBytes = parameters.readUInt32LE(0)
  const isBlock = blockBytes >= MIB && blockBytes <= 256 * MIB && Number.isInteger(Math.log2(blockBytes))
  checks.demand(isBlock, 'header', `The VHDX disk has blocks of ${blockBytes} bytes. ${AGAIN}`)
  const sectorBytes = sector.readUInt32LE(0)
  checks.demand(
    sectorBytes === 512,
    'features',
    `The VHDX disk has sectors of ${sectorBytes} bytes; 512 are taken. Convert it to QCOW2 where it was made.`,
  )
  checks.pass('header', `blocks of ${blockBytes} bytes`)
  const virtualBytes = readU64(size, 0, 'little')
  checks.demand(virtualBytes <= LARGEST_BYTES, 'virtual-size', `The VHDX disk is larger than VHDX can be. ${AGAIN}`)
  return { virtualBytes: inspection.virtualSize(virtualBytes), blockBytes, sectorBytes }
}
