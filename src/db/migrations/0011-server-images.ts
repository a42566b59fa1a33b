import type { Kysely } from 'kysely'

/** What the image of a server says about its machine: kept, since images are changed and deleted while servers run on. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .alterTable('servers')
    .addColumn('imageProperties', 'text', (c) => c.notNull().defaultTo('{}'))
    .execute()
}
