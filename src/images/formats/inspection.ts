import type { ByteSource } from './byte-source.ts'
import { Checklist } from './verdict.ts'

/** What is taken, besides being well formed. */
export interface InspectionLimits {
  /** The largest disk, as a guest sees it, in bytes. */
  maxVirtualBytes: number
}

/** How much of the beginning is read at once: up to the end of the first descriptor of an ISO 9660 image. */
const HEAD_BYTES = 36 * 1024
/** How much of the end: the footer of a streamed VMDK is the longest. */
const TAIL_BYTES = 1536
/** What one inspection reads at most, in bytes. The longest honest one, of a VHDX, needs 0.4 MiB. */
const READ_LIMIT_BYTES = 2 * 1024 * 1024

const SECTOR_BYTES = 512

/** One image being looked at. */
export class Inspection {
  readonly checks = new Checklist()
  readonly sizeBytes: number
  readonly limits: InspectionLimits
  /** The first bytes, as many as there are up to 36 KiB. */
  readonly head: Buffer
  /** The last bytes, as many as there are up to 1536. */
  readonly tail: Buffer
  readonly #source: ByteSource
  #bytesRead: number

  private constructor(source: ByteSource, limits: InspectionLimits, head: Buffer, tail: Buffer) {
    this.#source = source
    this.sizeBytes = source.sizeBytes
    this.limits = limits
    this.head = head
    this.tail = tail
    this.#bytesRead = head.length + tail.length
  }

  static async begin(source: ByteSource, limits: InspectionLimits): Promise<Inspection> {
    const head = await source.read(0, Math.min(HEAD_BYTES, source.sizeBytes))
    const tailBytes = Math.min(TAIL_BYTES, source.sizeBytes)
    const tail = await source.read(source.sizeBytes - tailBytes, tailBytes)
    return new Inspection(source, limits, head, tail)
  }

  /** Whether the file has these bytes. False for what no file can have. */
  holds(offset: number, length: number): boolean {
    return offset >= 0 && length >= 0 && offset + length <= this.sizeBytes
  }

  /**
   * All of these bytes.
   * @throws RefusalError when the file ends before, or enough was read already.
   */
  async read(offset: number, length: number): Promise<Buffer> {
    this.checks.demand(
      this.holds(offset, length),
      'header',
      'The file ends before its own header does. Upload it again.',
    )
    this.#bytesRead += length
    this.checks.demand(this.#bytesRead <= READ_LIMIT_BYTES, 'header', 'The header is larger than any tool writes it.')
    const bytes = await this.#source.read(offset, length)
    this.checks.demand(bytes.length === length, 'header', 'The file ends before its own header does. Upload it again.')
    return bytes
  }

  /**
   * The first bytes of the file, at least so many.
   * @throws RefusalError when the file is shorter.
   */
  atLeast(length: number): Buffer {
    this.checks.demand(this.head.length >= length, 'header', 'The file is too short to be a disk of this format.')
    return this.head
  }

  /**
   * The size of the disk, once it is one that a disk can have and that is taken here.
   * @throws RefusalError
   */
  virtualSize(bytes: number): number {
    const { checks, limits } = this
    checks.demand(bytes > 0, 'virtual-size', 'The image says its disk has no size.')
    checks.demand(
      Number.isSafeInteger(bytes),
      'virtual-size',
      'The image says its disk is larger than any disk can be. It is damaged, or made to mislead.',
    )
    checks.demand(bytes % SECTOR_BYTES === 0, 'virtual-size', "The disk's size is not a multiple of 512 bytes.")
    checks.pass('virtual-size', `${bytes} bytes`)
    checks.demand(
      bytes <= limits.maxVirtualBytes,
      'size-limit',
      `The disk is ${inGib(bytes)} GiB large; images of at most ${inGib(limits.maxVirtualBytes)} GiB are taken here.`,
    )
    checks.pass('size-limit')
    return bytes
  }
}

const inGib = (bytes: number): number => Math.ceil((bytes / 1024 ** 3) * 10) / 10
