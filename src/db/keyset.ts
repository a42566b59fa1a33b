import { type RawBuilder, type SqlBool, sql } from 'kysely'

/** One column of an order. The last column of an order must be unique, so that every row has one place in it. */
export interface SortColumn<Column extends string> {
  column: Column
  isDescending: boolean
  /** What null counts as; absent for a column that is never null, which is compared as it is, so that an index serves. */
  nullSortsAs?: string | number | undefined
}

/** All that stands behind `order by`. */
export function inOrder(order: readonly SortColumn<string>[]): RawBuilder<unknown> {
  return sql.join(order.map((one) => sql`${comparable(one)} ${sql.raw(one.isDescending ? 'desc' : 'asc')}`))
}

/**
 * True for the rows that come after `row` in this order: how a page begins behind its marker without counting rows.
 *
 *   (a, b) > (x, y)                         when all columns have one direction: an index can be entered there
 *   (a > x) or (a = x and b < y) or …       otherwise
 */
export function comesAfter<Column extends string>(
  order: readonly SortColumn<Column>[],
  row: Readonly<Record<Column, string | number | null>>,
): RawBuilder<SqlBool> {
  const keys = order.map((one) => ({
    left: comparable(one),
    right: row[one.column] ?? one.nullSortsAs,
    beyond: sql.raw(one.isDescending ? '<' : '>'),
  }))
  const [first] = order
  if (first && order.every(({ isDescending }) => isDescending === first.isDescending)) {
    const beyond = sql.raw(first.isDescending ? '<' : '>')
    return sql`(${sql.join(keys.map(({ left }) => left))}) ${beyond} (${sql.join(keys.map(({ right }) => right))})`
  }
  const alternatives = keys.map(({ left, right, beyond }, place) => {
    const equal = keys.slice(0, place).map((before) => sql`${before.left} = ${before.right}`)
    return sql`(${sql.join([...equal, sql`${left} ${beyond} ${right}`], sql` and `)})`
  })
  return sql`(${sql.join(alternatives, sql` or `)})`
}

function comparable({ column, nullSortsAs }: SortColumn<string>): RawBuilder<unknown> {
  return nullSortsAs === undefined ? sql.ref(column) : sql`coalesce(${sql.ref(column)}, ${sql.lit(nullSortsAs)})`
}
