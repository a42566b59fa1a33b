import { type RawBuilder, type SqlBool, sql } from 'kysely'

/** One column of an order. The last column of an order must be unique, so that every row has one place in it. */
export interface SortColumn<Column extends string> {
  column: Column
  isDescending: boolean
}

/**
 * True for the rows that come after `row` in this order: how a page begins behind its marker without counting rows.
 * The columns must not be null.
 *
 *   (a > x) or (a = x and b > y) or …      with `<` where a column descends
 */
export function comesAfter<Column extends string>(
  order: readonly SortColumn<Column>[],
  row: Readonly<Record<Column, string | number>>,
): RawBuilder<SqlBool> {
  const alternatives = order.map(({ column, isDescending }, place) => {
    const equal = order.slice(0, place).map((before) => sql`${sql.ref(before.column)} = ${row[before.column]}`)
    const beyond = sql`${sql.ref(column)} ${sql.raw(isDescending ? '<' : '>')} ${row[column]}`
    return sql`(${sql.join([...equal, beyond], sql` and `)})`
  })
  return sql<SqlBool>`(${sql.join(alternatives, sql` or `)})`
}
