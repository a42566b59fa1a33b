/**
 * The image firewall: decides, before any tool sees uploaded bytes, whether they are a disk of the format that was
 * declared, whole in itself, and of a size that is taken.
 *
 *   bytes → inspectImage(declared format) → accepted → conversion in a limited child, told the format
 *                                         → refused, with the one check that failed and what to do
 *
 * Two rules carry it. The format is what the user declared, never a guess; and bytes that could be taken for another
 * format besides are refused, so that no later tool that guesses is led astray. It reads headers only, at most 2 MiB;
 * what it cannot see (how far compressed data swell, a table that points in circles) is for the child's limits.
 */
import type { ByteSource } from './byte-source.ts'
import { INSPECTED_FORMATS } from './format-names.ts'
import { Inspection, type InspectionLimits } from './inspection.ts'
import { findDisks, hidesVmdkText, type Likeness } from './known-formats.ts'
import { readIso } from './read-iso.ts'
import { readQcow2 } from './read-qcow2.ts'
import { readBootFile, readRaw } from './read-raw.ts'
import { readVdi } from './read-vdi.ts'
import { readVhd } from './read-vhd.ts'
import { readVhdx } from './read-vhdx.ts'
import { readVmdk } from './read-vmdk.ts'
import { RefusalError, type Verdict } from './verdict.ts'

/** Answers the size of the disk, in bytes. @throws RefusalError */
type Reader = (inspection: Inspection) => number | Promise<number>

const READERS: Readonly<Record<string, Reader>> = {
  raw: readRaw,
  qcow2: readQcow2,
  vmdk: readVmdk,
  vdi: readVdi,
  vhd: readVhd,
  vhdx: readVhdx,
  iso: readIso,
  ami: readRaw,
  aki: readBootFile,
  ari: readBootFile,
} satisfies Record<(typeof INSPECTED_FORMATS)[number], Reader>

/** Of which nothing but one format's own reader must approve; all else is refused wherever it is seen. */
const OWN_LIKENESS = ['qcow2', 'vmdk', 'vdi', 'vhd', 'vhdx', 'iso']

/**
 * Looks at an image's bytes.
 * @param declaredFormat `disk_format` as the user gave it; any text.
 * @returns a verdict for any bytes whatever.
 * @throws only what `source.read` throws.
 */
export async function inspectImage(
  source: ByteSource,
  declaredFormat: string,
  limits: InspectionLimits,
): Promise<Verdict> {
  const inspection = await Inspection.begin(source, limits)
  const { checks } = inspection.checks
  try {
    const reader = readerOf(inspection, declaredFormat)
    inspection.checks.pass('format', declaredFormat)
    const likenesses = findDisks(inspection.head, inspection.tail)
    demandNoOther(inspection, declaredFormat, likenesses)
    return { format: declaredFormat, virtualSizeBytes: await reader(inspection), checks }
  } catch (error) {
    if (!(error instanceof RefusalError)) throw error
    return { format: declaredFormat, checks, refusal: { check: error.check, message: error.message } }
  }
}

function readerOf({ checks }: Inspection, declared: string): Reader {
  const reader = Object.hasOwn(READERS, declared) ? READERS[declared] : undefined
  const taken = INSPECTED_FORMATS.join(', ')
  return reader ?? checks.refuse('format', `Images of this format are not taken. Convert it to one of ${taken}.`)
}

function demandNoOther({ checks, head }: Inspection, declared: string, likenesses: Likeness[]): void {
  const others = likenesses.filter(({ format }) => format !== declared)
  const isOwn = likenesses.length > others.length
  const [other] = others
  if (other !== undefined && isOwn) {
    checks.refuse('other-format', `The file looks like a ${declared} disk and like ${other.label} at once.`)
  }
  if (other !== undefined) {
    const advice = OWN_LIKENESS.includes(other.format)
      ? `If it is, declare disk_format ${other.format}.`
      : 'Convert it to QCOW2, unencrypted, before you upload it.'
    checks.refuse('other-format', `The file was declared as ${declared}, but looks like ${other.label}. ${advice}`)
  }
  const isPlain = !OWN_LIKENESS.includes(declared) || declared === 'iso' || declared === 'vmdk'
  checks.demand(
    isPlain || !hidesVmdkText(head),
    'other-format',
    `The file looks like a ${declared} disk and hides the text of a VMDK, which names files.`,
  )
  checks.pass('other-format', 'none')
}
