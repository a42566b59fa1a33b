/**
 * SQLite or PostgreSQL behind one door.
 *
 *   read          sees what is committed, and cannot write
 *   transaction   gives a `Tx`; whoever wants to write needs one
 *   tx.onCommit   runs after the commit, and never when the work is rolled back
 *
 * A transaction holds SQLite's only writer (or a PostgreSQL connection): do nothing in it but ask the database.
 */
import { closeSync, openSync } from 'node:fs'
import type { Kysely, Transaction } from 'kysely'
import type { Outage } from './database-outage.ts'
import { migrate } from './migrations/migrate.ts'
import type { Schema } from './schema.ts'
import { openSqlite } from './sqlite.ts'

export type Reader = Pick<Kysely<Schema>, 'selectFrom'>

export interface Tx extends Pick<Transaction<Schema>, 'selectFrom' | 'insertInto' | 'updateTable' | 'deleteFrom'> {
  /** Runs once the work is durable: the place for nudges, which carry no data. */
  onCommit(run: () => void): void
}

/** What one kind of database brings; everything else is common. */
export interface Engine {
  kind: 'sqlite' | 'postgres'
  reader: Kysely<Schema>
  writer: Kysely<Schema>
  /** Whether trying the same transaction again may succeed: lost races, not mistakes. */
  isConflict(error: unknown): boolean
  /** Whether a unique key was already there. */
  isDuplicate(error: unknown): boolean
  /** Why the database could not do its work, when `error` says that; undefined for every other error. */
  outageOf(error: unknown): Outage | undefined
  /** Moves on with each write; undefined where others may write unseen. */
  version(): number | undefined
  /** Runs work that may take longer than any query of a caller, on connections of its own where that needs some. */
  unhurried(work: (db: Kysely<Schema>) => Promise<void>): Promise<void>
  close(): Promise<void>
}

const TRIES = 5

export class Database implements AsyncDisposable {
  readonly kind: Engine['kind']
  readonly read: Reader
  readonly #engine: Engine

  constructor(engine: Engine) {
    this.kind = engine.kind
    this.read = engine.reader
    this.#engine = engine
  }

  /**
   * Runs `work` in one transaction: all of it is durable when this resolves, none of it when it rejects. It may
   * run again after a lost race, so it must do nothing else than ask the database.
   */
  async transaction<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries++) {
      const afterwards: (() => void)[] = []
      try {
        const result = await this.#engine.writer
          .transaction()
          .execute((trx) => work(Object.assign(trx, { onCommit: (run: () => void) => void afterwards.push(run) })))
        for (const run of afterwards) run()
        return result
      } catch (error) {
        if (tries === TRIES || !this.#engine.isConflict(error)) throw error
      }
    }
  }

  /**
   * A number that is another one after every change of the database: what was read under a number is true while it
   * stands. Undefined on PostgreSQL, which others may write to unseen.
   */
  version(): number | undefined {
    return this.#engine.version()
  }

  /** Whether `error` says that a unique key was already there. */
  isDuplicate(error: unknown): boolean {
    return this.#engine.isDuplicate(error)
  }

  /** Why the database could not do its work, when `error` says that: trying again later may help. */
  outageOf(error: unknown): Outage | undefined {
    return this.#engine.outageOf(error)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#engine.close()
  }
}

/**
 * Opens a database and brings its tables up to date.
 * @param url the path of an SQLite file, or a `postgres://` URL.
 * @throws NewerDatabaseError when a newer Novella wrote it.
 * @throws DatabaseUnavailableError when a PostgreSQL server does not answer.
 */
export async function openDatabase(url: string): Promise<Database> {
  const engine = await openEngine(url)
  try {
    await engine.unhurried(migrate)
  } catch (error) {
    await engine.close()
    throw error
  }
  return new Database(engine)
}

/** Opens a database and changes no table: whoever only looks must be ready for queries that an older one refuses. */
export async function openDatabaseAsIs(url: string): Promise<Database> {
  return new Database(await openEngine(url))
}

const openEngine = async (url: string): Promise<Engine> =>
  /^postgres(ql)?:/.test(url) ? await openPostgresLate(url) : openSqlite(ownersOnly(url))

/** Whoever runs on SQLite need not load the driver of the other. */
async function openPostgresLate(url: string): Promise<Engine> {
  const { openPostgres } = await import('./postgres.ts')
  return openPostgres(url)
}

/** Makes the file before SQLite does, which lets everybody read it; its companions take over these rights. */
function ownersOnly(path: string): string {
  closeSync(openSync(path, 'a', 0o600))
  return path
}
