import { type Kysely, sql } from 'kysely'

/**
 * The login keys of a server, several and as they were when they were attached: who deletes a keypair locks nobody out.
 * Also what a guest posted as its password, and a place for secrets that an action needs for as long as it is open.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('serverKeypairs')
    .addColumn('serverId', 'text', (c) => c.notNull())
    .addColumn('name', 'text', (c) => c.notNull())
    .addColumn('position', 'integer', (c) => c.notNull())
    .addColumn('type', 'text', (c) => c.notNull())
    .addColumn('publicKey', 'text', (c) => c.notNull())
    .addPrimaryKeyConstraint('serverKeypairsKey', ['serverId', 'name'])
    .execute()
  await sql`
    insert into "serverKeypairs" ("serverId", "name", "position", "type", "publicKey")
    select "id", "keyName", 0, 'ssh', "publicKey" from "servers"
    where "keyName" is not null and "publicKey" is not null and "deletedAt" is null`.execute(db)
  await db.schema.alterTable('servers').dropColumn('publicKey').execute()
  await db.schema.alterTable('servers').addColumn('guestPassword', 'text').execute()
  await db.schema.alterTable('actions').addColumn('sealedSecret', 'text').execute()
}
