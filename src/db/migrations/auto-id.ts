import { type CreateTableBuilder, type Kysely, PostgresAdapter } from 'kysely'

/** Adds an integer `id` that counts up by itself; the two databases spell that differently. */
export function autoId(db: Kysely<unknown>, table: CreateTableBuilder<string>): CreateTableBuilder<string, 'id'> {
  return db.getExecutor().adapter instanceof PostgresAdapter
    ? table.addColumn('id', 'integer', (c) => c.generatedAlwaysAsIdentity().primaryKey())
    : table.addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement())
}
