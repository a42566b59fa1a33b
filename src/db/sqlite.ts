import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'
import { Kysely, SqliteDialect } from 'kysely'
import { RE2JS } from 're2js'
import type { Engine } from './database.ts'
import type { Schema } from './schema.ts'

/** How many compiled statements a connection keeps. */
const STATEMENTS = 400

/**
 * Opens an SQLite file with two connections: one that writes and one that reads. In WAL mode the reader sees what is
 * committed and never waits, so an open transaction shows its half-done work to nobody.
 */
export function openSqlite(path: string): Engine {
  const writer = connect(path)
  const reader = connect(path)
  reader.exec('pragma query_only = on')
  const writerDb = new Kysely<Schema>({ dialect: new SqliteDialect({ database: adapt(writer) }) })
  const readerDb = new Kysely<Schema>({ dialect: new SqliteDialect({ database: adapt(reader) }) })
  return {
    kind: 'sqlite',
    writer: writerDb,
    reader: readerDb,
    isConflict: () => false,
    isDuplicate: (error) => error instanceof Error && /^(UNIQUE|PRIMARY KEY) constraint failed/.test(error.message),
    async close() {
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

/** Kysely's dialect was written for another driver; this is the difference, and a cache of compiled statements. */
function adapt(db: DatabaseSync) {
  const cache = new Map<string, ReturnType<typeof wrap>>()
  const wrap = (statement: StatementSync) => ({
    reader: statement.columns().length > 0,
    all: (parameters: readonly unknown[]) => statement.all(...(parameters as SQLInputValue[])),
    run: (parameters: readonly unknown[]) => statement.run(...(parameters as SQLInputValue[])),
    iterate: (parameters: readonly unknown[]) => statement.iterate(...(parameters as SQLInputValue[])),
  })
  return {
    close: () => db.close(),
    prepare(sql: string) {
      let prepared = cache.get(sql)
      if (!prepared) {
        // Lists of ids make statements of many lengths; forgetting all now and then is simpler than an LRU.
        if (cache.size >= STATEMENTS) cache.clear()
        prepared = wrap(db.prepare(sql))
        cache.set(sql, prepared)
      }
      return prepared
    },
  }
}
