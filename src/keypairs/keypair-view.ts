import type { Static } from 'typebox'
import { timestampB } from '../http/timestamps.ts'
import type { CreatedKeypairAnswer, KeypairAnswer, KeypairListAnswer } from './keypair-schema.ts'
import type { Keypair } from './keypair-store.ts'

const listed = ({ name, publicKey, fingerprint }: Keypair) => ({ name, public_key: publicKey, fingerprint })

/** A keypair as the list has it. */
export function keypairListView(keypairs: readonly Keypair[]): Static<typeof KeypairListAnswer> {
  return { keypairs: keypairs.map((keypair) => ({ keypair: listed(keypair) })) }
}

/** The answer to a creation; the private half is told once, and only when it was made here. */
export function createdKeypairView(
  keypair: Keypair,
  privateKey: string | undefined,
): Static<typeof CreatedKeypairAnswer> {
  const secret = privateKey === undefined ? {} : { private_key: privateKey }
  return { keypair: { ...listed(keypair), user_id: keypair.userId, ...secret } }
}

/** One keypair in full. Deleted ones are gone, so three members never change. */
export function keypairView(keypair: Keypair): Static<typeof KeypairAnswer> {
  return {
    keypair: {
      ...listed(keypair),
      user_id: keypair.userId,
      id: keypair.id,
      created_at: timestampB(keypair.createdAt),
      updated_at: null,
      deleted_at: null,
      deleted: false,
    },
  }
}
