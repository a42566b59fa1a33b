import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import type { Engine } from './database.ts'
import type { Schema } from './schema.ts'

/** Connections of one Novella process. */
const CONNECTIONS = 10
/** Longer than any query of ours takes; ends a caller's costly pattern. Milliseconds. */
const STATEMENT_TIMEOUT_MS = 30_000

const SERIALIZATION_FAILURE = '40001'
const DEADLOCK = '40P01'
const UNIQUE_VIOLATION = '23505'

/**
 * Opens a PostgreSQL database.
 * @param url `postgres://user@host/database`, or with `?host=/dir` for a socket directory.
 */
export function openPostgres(url: string): Engine {
  const pool = new pg.Pool({
    connectionString: url,
    max: CONNECTIONS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    types: {
      // Epoch milliseconds and byte counts fit into a number; pg would hand them out as text.
      getTypeParser: (oid: number, format?: 'text' | 'binary') =>
        oid === pg.types.builtins.INT8 ? Number : pg.types.getTypeParser(oid, format as 'text'),
    } as pg.CustomTypesConfig,
  })
  // A connection that breaks while idle is replaced by the pool; without a listener it would end the process.
  pool.on('error', () => {})
  const db = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) })
  const code = (error: unknown) => (error as { code?: unknown } | null)?.code
  return {
    kind: 'postgres',
    reader: db,
    writer: db,
    isConflict: (error) => code(error) === SERIALIZATION_FAILURE || code(error) === DEADLOCK,
    isDuplicate: (error) => code(error) === UNIQUE_VIOLATION,
    close: () => db.destroy(),
  }
}
