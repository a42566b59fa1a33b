import { type Kysely, sql } from 'kysely'

/** Changes of keys that a guest was not told of yet; few servers have any, and those are looked for again and again. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.alterTable('servers').addColumn('untoldKeys', 'text').execute()
  await db.schema
    .createIndex('serversWithUntoldKeys')
    .on('servers')
    .column('hostName')
    .where(sql.ref('untoldKeys'), 'is not', null)
    .execute()
}
