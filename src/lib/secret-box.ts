import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'

const ALGORITHM = 'aes-256-gcm'
const NONCE_BYTES = 12
const TAG_BYTES = 16

/** Seals short texts (passwords, answers with private keys) so that a copy of the database alone tells nothing. */
export class SecretBox {
  readonly #key: Buffer

  /** @param key 32 bytes. */
  constructor(key: Buffer) {
    if (key.length !== 32) throw new Error('The sealing key must have 32 bytes.')
    this.#key = key
  }

  /** Reads the key file, or makes it with mode 0600. */
  static fromFile(path: string): SecretBox {
    try {
      writeFileSync(path, randomBytes(32).toString('base64'), { mode: 0o600, flag: 'wx' })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
    return new SecretBox(Buffer.from(readFileSync(path, 'utf8'), 'base64'))
  }

  seal(text: string): string {
    const nonce = randomBytes(NONCE_BYTES)
    const cipher = createCipheriv(ALGORITHM, this.#key, nonce)
    return Buffer.concat([nonce, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()]).toString('base64')
  }

  /** The same for the same text, and no help to who has a guess at it and not the key: hex. */
  fingerprint(text: string): string {
    return createHmac('sha256', this.#key).update(text).digest('hex')
  }

  /** @throws Error when it was sealed with another key or changed since. */
  open(sealed: string): string {
    const bytes = Buffer.from(sealed, 'base64')
    const decipher = createDecipheriv(ALGORITHM, this.#key, bytes.subarray(0, NONCE_BYTES))
    decipher.setAuthTag(bytes.subarray(-TAG_BYTES))
    return Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]).toString('utf8')
  }
}
