import { sql } from 'kysely'
import type { Reader, Tx } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { ApiError } from '../http/api-error.ts'

export type Keypair = Row<'keypairs'>

/**
 * Whether keypairs may be named so. `.` and `..` may not: in a path they mean other things, so nobody could delete them.
 * Source: shared/spec/faults.md, section 2, S13.
 */
export const isKeypairName = (name: string): boolean =>
  /^[A-Za-z0-9 _@.-]{1,255}$/.test(name) && name === name.trim() && !/^\.\.?$/.test(name)

/** The user's keypair of this name; undefined when there is none. */
export async function findKeypair(read: Reader, userId: string, name: string): Promise<Keypair | undefined> {
  // What comes from a path may hold bytes that PostgreSQL refuses to compare.
  if (!isKeypairName(name)) return undefined
  return read
    .selectFrom('keypairs')
    .selectAll()
    .where('userId', '=', userId)
    .where('name', '=', name)
    .executeTakeFirst()
}

/**
 * The user's keypair of this name.
 * @throws ApiError itemNotFound, also when somebody else has one of this name.
 */
export async function getKeypair(read: Reader, userId: string, name: string): Promise<Keypair> {
  const keypair = await findKeypair(read, userId, name)
  if (!keypair) throw new ApiError('itemNotFound', `Keypair ${name} not found for user ${userId}.`)
  return keypair
}

/** All keypairs of a user, oldest first; empty when there are none. */
export async function listKeypairs(read: Reader, userId: string): Promise<Keypair[]> {
  return read.selectFrom('keypairs').selectAll().where('userId', '=', userId).orderBy('id').execute()
}

/**
 * Sees to it that the user may have one more keypair, of this name.
 * @param quota the most the user may have; -1 for no limit.
 * @throws ApiError forbidden over the quota; conflictingRequest when the name is taken.
 */
export async function checkRoom(read: Reader, userId: string, name: string, quota: number): Promise<void> {
  const { used } = await read
    .selectFrom('keypairs')
    .select((eb) => eb.fn.countAll<number>().as('used'))
    .where('userId', '=', userId)
    .executeTakeFirstOrThrow()
  if (quota >= 0 && Number(used) >= quota) {
    const message = `Quota exceeded for key_pairs: requested 1, used ${used}, limit ${quota}.`
    throw new ApiError('forbidden', message)
  }
  if (await findKeypair(read, userId, name)) {
    throw new ApiError('conflictingRequest', `A keypair named '${name}' already exists.`)
  }
}

/**
 * Adds a keypair.
 * @throws ApiError as `checkRoom`.
 */
export async function insertKeypair(tx: Tx, keypair: Omit<Keypair, 'id' | 'type'>, quota: number): Promise<Keypair> {
  const { userId, name } = keypair
  // Changes nothing, but two creations for one user now wait for each other, so that both cannot take the last place.
  await tx.updateTable('users').set({ name: sql`"name"` }).where('id', '=', userId).execute()
  await checkRoom(tx, userId, name, quota)
  return tx
    .insertInto('keypairs')
    .values({ ...keypair, type: 'ssh' })
    .returningAll()
    .executeTakeFirstOrThrow()
}

/**
 * Removes a keypair; servers made with it keep the key.
 * @throws ApiError itemNotFound.
 */
export async function removeKeypair(tx: Tx, userId: string, name: string): Promise<void> {
  const { id } = await getKeypair(tx, userId, name)
  await tx.deleteFrom('keypairs').where('id', '=', id).execute()
}
