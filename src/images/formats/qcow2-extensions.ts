import { readU64 } from './byte-source.ts'
import type { Inspection } from './inspection.ts'
import { quote } from './verdict.ts'

/** Source: docs/interop/qcow2.txt of QEMU, "Header extensions". */
const END = 0
const BACKING_FORMAT = 0xe2792aca
const FEATURE_NAMES = 0x6803f857
const BITMAPS = 0x23852875
const ENCRYPTION = 0x0537be77
const DATA_FILE = 0x44415441

const DAMAGED = 'It is damaged, or made to mislead.'

/**
 * Walks the extensions after the header, in the first cluster, and refuses those that lead out of the file. Tools leave
 * alone what they do not know, so unknown ones pass; the conversion drops them.
 * @throws RefusalError
 */
export function readQcow2Extensions(inspection: Inspection, from: number, clusterBytes: number): void {
  const { checks, head } = inspection
  // Extensions that go on behind the head would be 30 KiB long; no tool writes so many.
  const end = Math.min(head.length, clusterBytes)
  const seen: string[] = []
  for (let at = from; ; ) {
    checks.demand(at + 8 <= end, 'extensions', `The QCOW2 header's extensions have no end. ${DAMAGED}`)
    const type = head.readUInt32BE(at)
    const length = head.readUInt32BE(at + 4)
    if (type === END) break
    at += 8
    checks.demand(at + length <= end, 'extensions', `An extension of the QCOW2 header is cut off. ${DAMAGED}`)
    const data = head.subarray(at, at + length)
    switch (type) {
      case DATA_FILE:
        checks.refuse(
          'data-file',
          `The disk names another file for its data (${quote(data.toString('latin1'))}). Upload it whole: qemu-img convert -O qcow2 FILE WHOLE.qcow2`,
        )
        break
      case BACKING_FORMAT:
        checks.refuse(
          'backing-file',
          'The disk names the format of a backing file. Upload it whole: qemu-img convert -O qcow2 FILE WHOLE.qcow2',
        )
        break
      case ENCRYPTION:
        checks.refuse('encryption', 'The disk has a place for keys: it is encrypted. Decrypt it first.')
        break
      case BITMAPS:
        demandBitmaps(inspection, data)
        seen.push('bitmaps')
        break
      case FEATURE_NAMES:
        seen.push('feature names')
        break
      default:
        seen.push(`0x${type.toString(16).padStart(8, '0')}`)
    }
    at += Math.ceil(length / 8) * 8
  }
  checks.pass('extensions', seen.length === 0 ? 'none' : seen.slice(0, 10).join(', '))
}

function demandBitmaps(inspection: Inspection, data: Buffer): void {
  const isWhole = data.length === 24 && inspection.holds(readU64(data, 16, 'big'), readU64(data, 8, 'big'))
  inspection.checks.demand(isWhole, 'extensions', `The disk's bitmaps are not inside its file. ${DAMAGED}`)
}
