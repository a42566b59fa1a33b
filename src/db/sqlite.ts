import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'
import { Kysely, SqliteDialect } from 'kysely'
import { RE2JS } from 're2js'
import type { Engine } from './database.ts'
import { readDirectly } from './prepared.ts'
import type { Schema } from './schema.ts'

/** https://www.sqlite.org/rescode.html#full */
const SQLITE_FULL = 13
/** How many compiled statements a connection keeps. */
const STATEMENTS = 400

/** What a statement answers that changed nothing. */
const NOTHING = { changes: 0, lastInsertRowid: 0 }

/**
 * Opens an SQLite file with two connections: one that writes and one that reads. In WAL mode the reader sees what is
 * committed and never waits, so an open transaction shows its half-done work to nobody.
 */
export function openSqlite(path: string): Engine {
  const writer = connect(path)
  const reader = connect(path)
  reader.exec('pragma query_only = on')
  const snapshot = new TurnSnapshot(reader)
  const reads = adapt(reader, () => snapshot.begin())
  // Nobody else writes to the file: the data directory is locked. The commit is a statement, too, so what was read
  // between a write and its commit is known to be old.
  let version = 0
  const onWrite = () => {
    version++
    snapshot.end()
  }
  const writerDb = new Kysely<Schema>({ dialect: new SqliteDialect({ database: adapt(writer, onWrite) }) })
  const readerDb = new Kysely<Schema>({ dialect: new SqliteDialect({ database: reads }) })
  readDirectly(readerDb, (sql, parameters) => reads.prepare(sql).all(parameters))
  return {
    kind: 'sqlite',
    writer: writerDb,
    reader: readerDb,
    isConflict: () => false,
    isDuplicate: (error) => error instanceof Error && /^(UNIQUE|PRIMARY KEY) constraint failed/.test(error.message),
    outageOf: (error) => ((error as { errcode?: number } | null)?.errcode === SQLITE_FULL ? 'full' : undefined),
    version: () => version,
    async unhurried(work) {
      // Many small commits without a wait for the disk at each. In WAL mode a power cut takes the last of them and breaks
      // nothing, and the next commit waits for all of them.
      writer.exec('pragma synchronous = normal')
      try {
        await work(writerDb)
      } finally {
        writer.exec('pragma synchronous = full')
      }
    },
    async close() {
      snapshot.end()
      if (reader.isOpen) reader.close()
      if (writer.isOpen) writer.close()
    },
  }
}

function connect(path: string): DatabaseSync {
  const db = new DatabaseSync(path, { timeout: 5_000 })
  db.exec(`
    pragma journal_mode = wal;
    pragma synchronous = full;
    pragma foreign_keys = on;
    pragma cache_size = -8000;
    pragma temp_store = memory`)
  // `x regexp y` calls regexp(y, x). The pattern is the caller's: a linear-time engine cannot be made to hang.
  const patterns = new Map<string, RE2JS>()
  db.function('regexp', { deterministic: true }, (pattern, text) => {
    const source = String(pattern)
    let compiled = patterns.get(source)
    if (!compiled) {
      if (patterns.size > 50) patterns.clear()
      compiled = RE2JS.compile(source, RE2JS.CASE_INSENSITIVE)
      patterns.set(source, compiled)
    }
    return compiled.matcher(String(text)).find() ? 1 : 0
  })
  return db
}

/**
 * Lets all reads within one turn of the event loop see the same state, in one transaction: outside of one, each read
 * locks and unlocks the file anew, which takes longer than most reads. It never outlives the turn, nor a write of ours,
 * so that nobody reads what was true before a commit and no checkpoint waits for it.
 */
class TurnSnapshot {
  readonly #reader: DatabaseSync
  readonly #begin: StatementSync
  readonly #commit: StatementSync
  #isOpen = false

  constructor(reader: DatabaseSync) {
    this.#reader = reader
    this.#begin = reader.prepare('begin')
    this.#commit = reader.prepare('commit')
  }

  begin(): void {
    if (this.#isOpen) return
    this.#begin.run()
    this.#isOpen = true
    setImmediate(() => this.end())
  }

  end(): void {
    if (!this.#isOpen || !this.#reader.isOpen) return
    this.#isOpen = false
    // A read that failed badly has ended the transaction already.
    if (this.#reader.isTransaction) this.#commit.run()
  }
}

/**
 * Kysely's dialect was written for another driver; this is the difference, and a cache of compiled statements.
 * @param onUse called before each statement is run: the caller runs what it gets at once.
 */
function adapt(db: DatabaseSync, onUse: () => void) {
  const cache = new Map<string, ReturnType<typeof wrap>>()
  const wrap = (statement: StatementSync, isRollback = false) => ({
    reader: statement.columns().length > 0,
    all: (parameters: readonly unknown[]) => statement.all(...(parameters as SQLInputValue[])),
    run(parameters: readonly unknown[]) {
      // A full disk has rolled back already; to fail at it again would hide that the disk is full.
      if (isRollback && !db.isTransaction) return NOTHING
      return statement.run(...(parameters as SQLInputValue[]))
    },
    iterate: (parameters: readonly unknown[]) => statement.iterate(...(parameters as SQLInputValue[])),
  })
  return {
    close: () => db.close(),
    prepare(sql: string) {
      onUse()
      let prepared = cache.get(sql)
      if (!prepared) {
        // Lists of ids make statements of many lengths; forgetting all now and then is simpler than an LRU.
        if (cache.size >= STATEMENTS) cache.clear()
        prepared = wrap(db.prepare(sql), sql === 'rollback')
        cache.set(sql, prepared)
      }
      return prepared
    },
  }
}
