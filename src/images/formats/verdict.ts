/** What an inspection found, and why it refused. Kept with the image, and shown to whoever owns it. */

/** One thing that was looked at. Names are data: they are stored, and clients may look for them. */
export interface Check {
  name: CheckName
  outcome: 'passed' | 'refused'
  /** What was seen, for people; the refusal's message when it was refused. */
  note?: string
}

export type CheckName =
  /** The declared format is one that is taken. */
  | 'format'
  /** The bytes begin, or end, as the declared format does. */
  | 'magic'
  /** The bytes are of no other format besides. */
  | 'other-format'
  | 'version'
  /** What the format needs beyond this reader's knowledge, or a state it must not be in. */
  | 'features'
  | 'header'
  | 'header-copy'
  | 'checksum'
  /** The disk is not an overlay of another file. */
  | 'backing-file'
  /** The disk's data are in this file and no other. */
  | 'data-file'
  | 'encryption'
  | 'extensions'
  /** The disk's tables are in the file, and as large as its size needs. */
  | 'tables'
  | 'snapshots'
  /** The size of the disk is one a disk can have, and agrees with the file. */
  | 'virtual-size'
  /** The size of the disk is one that is taken here. */
  | 'size-limit'
  /** A tool could read all of the disk: no check of headers, but what whoever converts it adds. */
  | 'conversion'
  /** A tool that was given the image could read all of it, within its limits. */
  | 'conversion'

interface Inspected {
  /** As it was declared. */
  format: string
  /** In the order they were made; a refusal is the last. */
  checks: Check[]
}

/** The image may be given to a tool, told its format. */
export interface Accepted extends Inspected {
  /** Size of the disk that a guest sees, in bytes: a multiple of 512, as `qemu-img info` tells it. */
  virtualSizeBytes: number
  refusal?: undefined
}

/** No tool may see the image. */
export interface Refused extends Inspected {
  virtualSizeBytes?: undefined
  refusal: { check: CheckName; message: string }
}

export type Verdict = Accepted | Refused

/** Ends an inspection; only `inspectImage` catches it. */
export class RefusalError extends Error {
  override readonly name = 'RefusalError'
  readonly check: CheckName

  constructor(check: CheckName, message: string) {
    super(message)
    this.check = check
  }
}

/** Collects what an inspection looked at. */
export class Checklist {
  readonly checks: Check[] = []

  pass(name: CheckName, note?: string): void {
    this.checks.push(note === undefined ? { name, outcome: 'passed' } : { name, outcome: 'passed', note })
  }

  /** @throws RefusalError always. */
  refuse(name: CheckName, message: string): never {
    this.checks.push({ name, outcome: 'refused', note: message })
    throw new RefusalError(name, message)
  }

  /** Notes nothing when it holds: a check passes when all that belongs to it was demanded. @throws RefusalError */
  demand(holds: boolean, name: CheckName, message: string): void {
    if (!holds) this.refuse(name, message)
  }
}

const LONGEST_QUOTE = 120

/** A text of the image as it may be shown: printable, and not long. */
export function quote(text: string): string {
  const printable = text.replace(/[^\x20-\x7e]/g, '?')
  return `'${printable.length > LONGEST_QUOTE ? `${printable.slice(0, LONGEST_QUOTE)}…` : printable}'`
}
