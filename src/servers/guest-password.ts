/**
 * The password that a guest made for itself, posted to its metadata service encrypted with its user's public key: only who
 * has the private key reads it. Windows images do this; here it is only kept.
 * Source: Nova, api/metadata/password.py; the longest text is Nova's, four parts of 255 characters.
 */
import type { Database } from '../db/database.ts'
import type { Caller } from '../http/policy.ts'
import { getServer } from './server-store.ts'

const LONGEST = 4 * 255
const BASE64 = /^[A-Za-z0-9+/=\s]*$/

/** `taken`: there is one already, and its user must clear it first. */
export type Kept = 'kept' | 'taken' | 'tooLong' | 'noBase64'

/** Keeps what a guest posted, once; an empty text is as good as none. */
export async function keepGuestPassword(db: Database, serverId: string, text: string): Promise<Kept> {
  if (text.length > LONGEST) return 'tooLong'
  if (!BASE64.test(text)) return 'noBase64'
  // Not through the store: a guest does not move `updated`, on which accepting an action relies.
  const { numUpdatedRows } = await db.transaction((tx) =>
    tx
      .updateTable('servers')
      .set({ guestPassword: text.trim() || null })
      .where('id', '=', serverId)
      .where('guestPassword', 'is', null)
      .where('deletedAt', 'is', null)
      .executeTakeFirstOrThrow(),
  )
  return numUpdatedRows === 1n ? 'kept' : 'taken'
}

/** Forgets it, so that the guest may post another; the guest itself is not asked. @throws ApiError itemNotFound */
export async function clearGuestPassword(db: Database, caller: Caller, serverId: string): Promise<void> {
  await db.transaction(async (tx) => {
    await getServer(tx, caller, serverId)
    await tx.updateTable('servers').set({ guestPassword: null }).where('id', '=', serverId).execute()
  })
}
