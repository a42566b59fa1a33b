import type { Static } from 'typebox'
import { ApiError } from '../http/api-error.ts'
import { generateKey } from './generate-key.ts'
import type { CreateKeypairRequest } from './keypair-schema.ts'
import { isKeypairName } from './keypair-store.ts'
import { KEY_TYPES, parsePublicKey } from './public-key.ts'
import { KeyFormatError } from './wire-reader.ts'

export interface KeyToStore {
  name: string
  publicKey: string
  fingerprint: string
  /** Only of a key made here. */
  privateKey: string | undefined
}

/**
 * Reads the key that came, or makes one. Nothing is stored: making a key takes too long to do it in a transaction.
 * @throws ApiError badRequest for a name that keypairs cannot have, or a `public_key` that is no SSH public key.
 */
export async function readOrMakeKey({ keypair }: Static<typeof CreateKeypairRequest>): Promise<KeyToStore> {
  const name = keypair.name.trim()
  if (!isKeypairName(name)) {
    throw new ApiError('badRequest', 'A keypair name has 1 to 255 letters, digits, spaces or any of _ - @ and a dot.')
  }
  const given = keypair.public_key ?? null
  if (given === null) return { name, ...(await generateKey(keypair.key_type ?? 'rsa')) }
  try {
    const { text, fingerprint } = parsePublicKey(given)
    return { name, publicKey: text, fingerprint, privateKey: undefined }
  } catch (cause) {
    if (!(cause instanceof KeyFormatError)) throw cause
    const message = `public_key must be one line with an OpenSSH public key of a type ${KEY_TYPES.join(', ')}.`
    throw new ApiError('badRequest', message, { cause })
  }
}
