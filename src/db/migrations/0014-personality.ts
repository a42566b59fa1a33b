import type { Kysely } from 'kysely'

/** The files that a server brings: JSON, a list of {path, contents in base64}. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .alterTable('servers')
    .addColumn('personality', 'text', (c) => c.notNull().defaultTo('[]'))
    .execute()
}
