import type { Static } from 'typebox'
import { ApiError } from '../http/api-error.ts'
import type { FairSlots } from '../http/fair-slots.ts'
import { generateKey } from './generate-key.ts'
import type { CreateKeypairRequest } from './keypair-schema.ts'
import { isKeypairName } from './keypair-store.ts'
import { KEY_TYPES, parsePublicKey } from './public-key.ts'
import { KeyFormatError } from './wire-reader.ts'

export interface KeyToStore {
  publicKey: string
  fingerprint: string
  /** Only of a key made here. */
  privateKey: string | undefined
}

type Wish = Static<typeof CreateKeypairRequest>['keypair']

/**
 * The name that a keypair is to have.
 * @throws ApiError badRequest for a name that keypairs cannot have.
 */
export function readKeypairName(wish: Wish): string {
  const name = wish.name.trim()
  if (isKeypairName(name)) return name
  throw new ApiError('badRequest', 'A keypair name has 1 to 255 letters, digits, spaces or any of _ - @ and a dot.')
}

/**
 * Reads the key that came, or makes one when it is its turn. Nothing is stored: making a key takes too long to do it
 * in a transaction, and too much of a core to do many at once.
 * @throws ApiError badRequest for a `public_key` that is no SSH public key; rateLimited or serviceUnavailable when too
 * many keys are waited for.
 */
export async function readOrMakeKey(wish: Wish, userId: string, slots: FairSlots): Promise<KeyToStore> {
  const given = wish.public_key ?? null
  if (given === null) return slots.run(userId, () => generateKey(wish.key_type ?? 'rsa'))
  try {
    const { text, fingerprint } = parsePublicKey(given)
    return { publicKey: text, fingerprint, privateKey: undefined }
  } catch (cause) {
    if (!(cause instanceof KeyFormatError)) throw cause
    const message = `public_key must be one line with an OpenSSH public key of a type ${KEY_TYPES.join(', ')}.`
    throw new ApiError('badRequest', message, { cause })
  }
}
