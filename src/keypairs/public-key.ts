/**
 * Reads what people paste as "my public key": the one line of a `.pub` file.
 *
 *   type SPACE base64(blob) [SPACE comment]          blob = string(type) + the fields of that type
 *
 * The line goes into `authorized_keys` of guests, where a second line or a prefix of options would be obeyed. So it
 * must be exactly one line, and begin with the type.
 * Sources: RFC 4253 section 6.6, RFC 5656 section 3.1, RFC 8709 section 4, OpenSSH PROTOCOL.u2f.
 */
import { createHash, createPublicKey } from 'node:crypto'
import { KeyFormatError, WireReader } from './wire-reader.ts'

export interface PublicKey {
  /** `ssh-ed25519`, `ecdsa-sha2-nistp256` … */
  type: string
  /** The line, with a line break at its end if it came with one. */
  text: string
  /** MD5 of the blob: 16 bytes in lower-case hex, joined by colons. */
  fingerprint: string
}

/** The longest line taken, in characters. An RSA key of 16384 bits needs 2,800. */
const LINE_MAX = 16_384

/** Whatever any program may take for the end of a line, and other invisible commands. */
const CONTROL = /[\u0000-\u0008\u000a-\u001f\u007f-\u009f\u2028\u2029]/

const LINE = /^([a-z0-9@.-]+)[ \t]+([A-Za-z0-9+/]+={0,2})(?:[ \t]+(.*))?$/

/** Bits a modulus may have: below, OpenSSH refuses the key; above, it does too. */
const RSA_BITS = { min: 1024, max: 16_384 }
/** The one size that DSA keys of OpenSSH have. */
const DSA_BITS = { p: 1024, q: 160 }

const CURVES = {
  nistp256: { crv: 'P-256', bytes: 32 },
  nistp384: { crv: 'P-384', bytes: 48 },
  nistp521: { crv: 'P-521', bytes: 66 },
} as const

/** What follows the type in a blob, by type. */
const FIELDS: Readonly<Record<string, (blob: WireReader) => void>> = {
  'ssh-rsa': checkRsa,
  'ssh-dss': checkDsa,
  'ssh-ed25519': checkEd25519,
  'ecdsa-sha2-nistp256': (blob) => checkEcdsa(blob, 'nistp256'),
  'ecdsa-sha2-nistp384': (blob) => checkEcdsa(blob, 'nistp384'),
  'ecdsa-sha2-nistp521': (blob) => checkEcdsa(blob, 'nistp521'),
  'sk-ssh-ed25519@openssh.com': (blob) => {
    checkEd25519(blob)
    checkApplication(blob)
  },
  'sk-ecdsa-sha2-nistp256@openssh.com': (blob) => {
    checkEcdsa(blob, 'nistp256')
    checkApplication(blob)
  },
}

/** The types of keys that can be imported. */
export const KEY_TYPES: readonly string[] = Object.keys(FIELDS)

/**
 * Reads a public key.
 * @throws KeyFormatError saying what is wrong, in words for the log.
 */
export function parsePublicKey(given: string): PublicKey {
  if (given.length > LINE_MAX) throw new KeyFormatError('the text is too long')
  const line = given.trim()
  if (CONTROL.test(line)) throw new KeyFormatError('the text has more than one line')
  const [, type = '', base64 = ''] = LINE.exec(line) ?? []
  const checkFields = Object.hasOwn(FIELDS, type) ? FIELDS[type] : undefined
  if (!checkFields) throw new KeyFormatError('the text does not begin with a type of key and its base64')
  const blob = Buffer.from(base64, 'base64')
  // Node skips what it cannot read; what does not come back the same was not base64.
  if (blob.toString('base64') !== base64) throw new KeyFormatError('the key is not whole base64')
  const reader = new WireReader(blob)
  if (reader.readAscii() !== type) throw new KeyFormatError('the type in the key is not the one before it')
  checkFields(reader)
  reader.end()
  return { type, text: /\n\s*$/.test(given) ? `${line}\n` : line, fingerprint: fingerprintOf(blob) }
}

/** MD5 of a key blob, as `ssh-keygen -l -E md5` shows it. */
export function fingerprintOf(blob: Buffer): string {
  const hex = createHash('md5').update(blob).digest('hex')
  return (hex.match(/../g) ?? []).join(':')
}

const bitsOf = (number: bigint): number => number.toString(2).length

function checkRsa(blob: WireReader): void {
  const exponent = blob.readPositive()
  const modulus = blob.readPositive()
  const bits = bitsOf(modulus)
  if (bits < RSA_BITS.min || bits > RSA_BITS.max) throw new KeyFormatError(`an RSA modulus of ${bits} bits`)
  if (modulus % 2n === 0n) throw new KeyFormatError('an RSA modulus that is even')
  if (exponent < 3n || exponent % 2n === 0n || exponent >= modulus) throw new KeyFormatError('a bad RSA exponent')
}

function checkDsa(blob: WireReader): void {
  const [p, q, g, y] = [blob.readPositive(), blob.readPositive(), blob.readPositive(), blob.readPositive()]
  if (bitsOf(p) !== DSA_BITS.p || bitsOf(q) !== DSA_BITS.q) throw new KeyFormatError('a DSA key of an odd size')
  if ((p - 1n) % q !== 0n) throw new KeyFormatError('a DSA key whose primes do not fit')
  if (g < 2n || g >= p || y < 2n || y >= p) throw new KeyFormatError('a DSA key out of range')
}

function checkEd25519(blob: WireReader): void {
  if (blob.readBytes().length !== 32) throw new KeyFormatError('an ed25519 key that has not 32 bytes')
}

function checkEcdsa(blob: WireReader, curve: keyof typeof CURVES): void {
  if (blob.readAscii() !== curve) throw new KeyFormatError('another curve than the type says')
  const { crv, bytes } = CURVES[curve]
  const point = blob.readBytes()
  if (point.length !== 1 + 2 * bytes || point[0] !== 4) throw new KeyFormatError('a point that is not uncompressed')
  const [x, y] = [point.subarray(1, 1 + bytes), point.subarray(1 + bytes)].map((part) => part.toString('base64url'))
  try {
    createPublicKey({ key: { kty: 'EC', crv, x, y }, format: 'jwk' })
  } catch (cause) {
    throw new KeyFormatError('a point that is not on the curve', { cause })
  }
}

/** The site a security key was made for; `ssh:` unless its owner chose another. */
function checkApplication(blob: WireReader): void {
  if (blob.readAscii() === '') throw new KeyFormatError('a security key without an application')
}
