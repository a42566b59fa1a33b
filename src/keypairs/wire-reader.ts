/** The text of a key does not hold what a key must hold. Never shown to callers: they are told in their terms. */
export class KeyFormatError extends Error {
  override readonly name = 'KeyFormatError'
}

/**
 * Reads the fields of a key blob one after the other. Source: RFC 4251, section 5 (`string`, `mpint`).
 * @throws KeyFormatError from every method, when the bytes are not what is asked for.
 */
export class WireReader {
  readonly #bytes: Buffer
  #place = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  /** The next field: a length of four bytes, and as many bytes. */
  readBytes(): Buffer {
    const start = this.#place + 4
    if (start > this.#bytes.length) throw new KeyFormatError('a length is cut off')
    const end = start + this.#bytes.readUInt32BE(this.#place)
    if (end > this.#bytes.length) throw new KeyFormatError('a field is cut off')
    this.#place = end
    return this.#bytes.subarray(start, end)
  }

  readAscii(): string {
    const bytes = this.readBytes()
    if (bytes.some((byte) => byte < 0x20 || byte > 0x7e)) throw new KeyFormatError('a word holds other than ASCII')
    return bytes.toString('latin1')
  }

  /** A positive number in the one way to write it: no leading zeros but the one that keeps it positive. */
  readPositive(): bigint {
    const bytes = this.readBytes()
    const [first, second] = bytes
    if (first === undefined || first >= 0x80) throw new KeyFormatError('a number is not positive')
    if (first === 0 && (second === undefined || second < 0x80)) throw new KeyFormatError('a number has leading zeros')
    return BigInt(`0x${bytes.toString('hex')}`)
  }

  /** Sees to it that nothing follows. */
  end(): void {
    if (this.#place !== this.#bytes.length) throw new KeyFormatError('more follows behind the last field')
  }
}

/** One field as `WireReader.readBytes` reads it. */
export function wireString(content: string | Buffer): Buffer {
  const bytes = Buffer.from(content as string)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(bytes.length)
  return Buffer.concat([length, bytes])
}

/** A positive number, given as its bytes without sign, as `WireReader.readPositive` reads it. */
export function wirePositive(magnitude: Buffer): Buffer {
  const first = magnitude.findIndex((byte) => byte !== 0)
  const digits = first === -1 ? Buffer.alloc(0) : magnitude.subarray(first)
  return wireString((digits[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.of(0), digits]) : digits)
}
