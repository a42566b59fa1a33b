import type { ByteSource } from '../../src/images/formats/byte-source.ts'

/** A buffer that many share, changed here and there for one of them; counts what is read. */
export class PatchedBytes implements ByteSource {
  sizeBytes: number
  /** Every read that was asked for. */
  readonly reads: { offset: number; length: number }[] = []
  readonly #base: Buffer
  readonly #patches: { offset: number; bytes: Buffer }[] = []

  constructor(base: Buffer) {
    this.#base = base
    this.sizeBytes = base.length
  }

  /** Writes over what is there; nothing beyond the end. */
  patch(offset: number, bytes: Buffer): this {
    this.#patches.push({ offset, bytes })
    return this
  }

  async read(offset: number, length: number): Promise<Buffer> {
    this.reads.push({ offset, length })
    return this.slice(offset, length)
  }

  /** What lies there, to be read only; not counted. */
  slice(offset: number, length: number): Buffer {
    const end = Math.min(offset + length, this.sizeBytes)
    if (end <= offset) return Buffer.alloc(0)
    const patches = this.#patches.filter((one) => one.offset < end && one.offset + one.bytes.length > offset)
    if (patches.length === 0 && end <= this.#base.length) return this.#base.subarray(offset, end)
    const bytes = Buffer.alloc(end - offset)
    if (offset < this.#base.length) this.#base.copy(bytes, 0, offset, Math.min(end, this.#base.length))
    for (const patch of patches) {
      const from = Math.max(patch.offset, offset)
      const to = Math.min(patch.offset + patch.bytes.length, end)
      if (from < to) patch.bytes.copy(bytes, from - offset, from - patch.offset, to - patch.offset)
    }
    return bytes
  }

  toBuffer(): Buffer {
    return this.slice(0, this.sizeBytes)
  }
}
