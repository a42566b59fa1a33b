/**
 * Queries that are asked again and again, and so are built and compiled once: for a read of one row, building the
 * query costs more than the database takes to answer it. Their values are slots that each use fills.
 */
import type { Compilable, CompiledQuery, Kysely } from 'kysely'
import type { Reader } from './database.ts'
import type { Schema } from './schema.ts'

/** Answers a compiled query at once. */
export type DirectRead = (sql: string, parameters: readonly unknown[]) => unknown[]

/** Stands in a compiled query for a value that comes with each use. */
class Slot {
  readonly name: string

  constructor(name: string) {
    this.name = name
  }
}

const directReads = new WeakMap<object, DirectRead>()

/** Says that whoever reads from `reader` need not wait for its connection: it answers at once, outside any transaction. */
export function readDirectly(reader: Kysely<Schema>, read: DirectRead): void {
  directReads.set(reader, read)
}

/**
 * A query that is built at its first use. Its values may be compared with, and no more: their number and whether they
 * are null are part of the query's text.
 * @param build gets in place of each value something that stands for it.
 */
export function prepared<Values extends Record<string, string | number>, Row>(
  build: (read: Reader, values: Values) => Compilable<Row>,
): (read: Reader, values: Values) => Promise<Row[]> {
  const slots = new Proxy({}, { get: (_, name) => new Slot(String(name)) }) as Values
  // A database and its transactions share what makes their dialect.
  const compiled = new WeakMap<object, CompiledQuery<Row>>()
  return async (read, values) => {
    const db = read as Kysely<Schema>
    const { adapter } = db.getExecutor()
    let query = compiled.get(adapter)
    if (!query) {
      query = build(read, slots).compile()
      compiled.set(adapter, query)
    }
    const parameters = query.parameters.map((value) => (value instanceof Slot ? values[value.name] : value))
    const direct = directReads.get(read)
    if (direct) return direct(query.sql, parameters) as Row[]
    return (await db.executeQuery<Row>({ ...query, parameters })).rows
  }
}
