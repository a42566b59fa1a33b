import type { Kysely } from 'kysely'

/** Tokens that open a server's console. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('consoleTokens')
    .addColumn('hash', 'text', (c) => c.primaryKey())
    .addColumn('serverId', 'text', (c) => c.notNull().references('servers.id').onDelete('cascade'))
    .addColumn('type', 'text', (c) => c.notNull())
    .addColumn('createdAt', 'bigint', (c) => c.notNull())
    .addColumn('expiresAt', 'bigint', (c) => c.notNull())
    .addColumn('usedAt', 'bigint')
    .execute()
  await db.schema.createIndex('consoleTokensByExpiry').on('consoleTokens').column('expiresAt').execute()
}
