/**
 * PostgreSQL behind the door. The server is another program, on another machine perhaps, so each query may find it
 * gone: whatever the connection fails with becomes a `DatabaseUnavailableError`, the connection is thrown away, and
 * the next transaction gets a new one.
 */
import { Kysely, PostgresDialect, type PostgresPool, type PostgresPoolClient } from 'kysely'
import pg from 'pg'
import type { Engine } from './database.ts'
import { DatabaseUnavailableError } from './database-outage.ts'
import type { Schema } from './schema.ts'

/** Connections of one Novella process. */
const CONNECTIONS = 10
/** How long to wait for a connection, a new one or one that others use. Milliseconds. */
const CONNECT_TIMEOUT_MS = 10_000
/** Longer than any query of ours takes; ends a caller's costly pattern. Milliseconds. */
const STATEMENT_TIMEOUT_MS = 30_000
/** By then a server that is there would have ended the statement itself. Milliseconds. */
const ANSWER_TIMEOUT_MS = STATEMENT_TIMEOUT_MS + 5_000
/** Silence after which the kernel asks whether the other side is still there. Milliseconds. */
const KEEP_ALIVE_AFTER_MS = 10_000

const SERIALIZATION_FAILURE = '40001'
const DEADLOCK = '40P01'
/** What a row refers to went meanwhile, or got a reference: trying again finds out, and says so. */
const FOREIGN_KEY_VIOLATION = '23503'
const UNIQUE_VIOLATION = '23505'
const DISK_FULL = '53100'
const LOST_RACES: unknown[] = [SERIALIZATION_FAILURE, DEADLOCK, FOREIGN_KEY_VIOLATION]
/** What a server says that is stopping, starting, or has no connection left: classes 08 and 57P, and 53300. */
const GOING_AWAY = /^(08...|57P0[1-5]|53300)$/

/**
 * Opens a PostgreSQL database; nothing is asked of it yet.
 * @param url `postgres://user@host/database`, or with `?host=/dir` for a socket directory.
 */
export function openPostgres(url: string): Engine {
  const db = connect(url, { statement_timeout: STATEMENT_TIMEOUT_MS, query_timeout: ANSWER_TIMEOUT_MS })
  return {
    kind: 'postgres',
    reader: db,
    writer: db,
    isConflict: (error) => LOST_RACES.includes(codeOf(error)),
    isDuplicate: (error) => codeOf(error) === UNIQUE_VIOLATION,
    outageOf: (error) =>
      error instanceof DatabaseUnavailableError ? 'unreachable' : codeOf(error) === DISK_FULL ? 'full' : undefined,
    version: () => undefined,
    async unhurried(work) {
      const patient = connect(url, {})
      try {
        await work(patient)
      } finally {
        await patient.destroy()
      }
    },
    close: () => db.destroy(),
  }
}

function connect(url: string, limits: Pick<pg.PoolConfig, 'statement_timeout' | 'query_timeout'>): Kysely<Schema> {
  const pool = new pg.Pool({
    ...limits,
    connectionString: url,
    max: CONNECTIONS,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_AFTER_MS,
    types: {
      // Epoch milliseconds and byte counts fit into a number; pg would hand them out as text.
      getTypeParser: (oid: number, format?: 'text' | 'binary') =>
        oid === pg.types.builtins.INT8 ? Number : pg.types.getTypeParser(oid, format as 'text'),
    } as pg.CustomTypesConfig,
  })
  // Without a listener a connection that breaks would end the process: the pool's hears of idle ones, the client's of
  // those in use. The query under way fails too, and says so to whoever asked.
  pool.on('error', () => {})
  pool.on('connect', (client) => client.on('error', () => {}))
  return new Kysely<Schema>({ dialect: new PostgresDialect({ pool: namingOutages(pool) }) })
}

/** The pool, whose connections tell a server that is gone from a query that is wrong. */
function namingOutages(pool: pg.Pool): PostgresPool {
  return {
    options: pool.options,
    end: () => pool.end(),
    async connect() {
      try {
        return namingOutagesOf(await pool.connect())
      } catch (error) {
        throw new DatabaseUnavailableError(error)
      }
    },
  }
}

function namingOutagesOf(client: pg.PoolClient): PostgresPoolClient {
  let broken: DatabaseUnavailableError | undefined
  const query = async (sql: string, parameters: readonly unknown[]): Promise<unknown> => {
    // What follows in the transaction, its rollback above all, must not wait for an answer once more.
    if (broken) throw broken
    try {
      return await client.query(sql, parameters as unknown[])
    } catch (error) {
      if (isAnswer(error)) throw error
      broken = new DatabaseUnavailableError(error)
      throw broken
    }
  }
  return {
    // Kysely streams through cursors only when it is given some.
    query: query as PostgresPoolClient['query'],
    release: (isToGo) => client.release(isToGo || broken !== undefined),
  }
}

/** Whether the server answered, if only with an error, or the query never left: the connection is fine then. */
const isAnswer = (error: unknown): boolean =>
  error instanceof TypeError || (error instanceof pg.DatabaseError && !GOING_AWAY.test(error.code ?? ''))

const codeOf = (error: unknown): unknown => (error as { code?: unknown } | null)?.code
