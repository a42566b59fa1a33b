import type { Reader, Tx } from '../db/database.ts'
import type { Row } from '../db/schema.ts'

/** A public key that logs in to a server, under the name of the keypair that it was copied from. */
export type ServerKeypair = Pick<Row<'serverKeypairs'>, 'name' | 'type' | 'publicKey'>

/** The keypairs attached to a server, in the order of attaching; empty when there are none. */
export async function listServerKeypairs(read: Reader, serverId: string): Promise<ServerKeypair[]> {
  return read
    .selectFrom('serverKeypairs')
    .select(['name', 'type', 'publicKey'])
    .where('serverId', '=', serverId)
    .orderBy('position')
    .execute()
}

/** Adds keypairs after those that are there; none of them may be. */
export async function insertServerKeypairs(tx: Tx, serverId: string, keypairs: ServerKeypair[]): Promise<void> {
  if (keypairs.length === 0) return
  const { last } = await tx
    .selectFrom('serverKeypairs')
    .select((eb) => eb.fn.max<number | null>('position').as('last'))
    .where('serverId', '=', serverId)
    .executeTakeFirstOrThrow()
  const next = (last ?? -1) + 1
  await tx
    .insertInto('serverKeypairs')
    .values(
      keypairs.map(({ name, type, publicKey }, index) => ({ serverId, position: next + index, name, type, publicKey })),
    )
    .execute()
}

/** Removes keypairs by name; those that are not there are gone already. */
export async function removeServerKeypairs(tx: Tx, serverId: string, names: readonly string[]): Promise<void> {
  if (names.length === 0) return
  await tx.deleteFrom('serverKeypairs').where('serverId', '=', serverId).where('name', 'in', names).execute()
}
