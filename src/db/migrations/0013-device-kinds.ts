import type { Kysely } from 'kysely'

/** What a disk is plugged into, and as what, where whoever made the server said so; and whether a guest may write to it. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.alterTable('blockDevices').addColumn('diskBus', 'text').execute()
  await db.schema
    .alterTable('blockDevices')
    .addColumn('deviceType', 'text', (c) => c.notNull().defaultTo('disk'))
    .execute()
  await db.schema
    .alterTable('blockDevices')
    .addColumn('isReadOnly', 'integer', (c) => c.notNull().defaultTo(0))
    .execute()
}
