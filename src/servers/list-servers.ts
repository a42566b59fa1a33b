import { type RawBuilder, type SqlBool, sql } from 'kysely'
import type { Database } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { ApiError } from '../http/api-error.ts'
import type { ServerFilters } from './server-filters.ts'

/** Columns that may be null, and what null sorts as; the others are compared as they are, so that an index serves. */
const NULL_SORTS_AS: Partial<Record<keyof Row<'servers'>, string | number>> = {
  launchedAt: 0,
  terminatedAt: 0,
  taskState: '',
  hostName: '',
  keyName: '',
}

/**
 * One page of servers that pass the filters; newest first unless sorted otherwise; empty when `marker` is the last.
 * @throws ApiError badRequest when `marker` is no server within reach.
 */
export async function listServers(db: Database, filters: ServerFilters): Promise<Row<'servers'>[]> {
  const { projectId, deleted, states, nameMatches, ipMatches, updatedSince, equals, sort, marker, limit } = filters
  if (limit === 0 || states?.length === 0) {
    if (marker !== undefined) await readMarker(db, filters, marker)
    return []
  }
  let query = db.read.selectFrom('servers').selectAll('servers')
  if (projectId !== undefined) query = query.where('projectId', '=', projectId)
  if (deleted !== 'both') query = query.where('deletedAt', deleted === 'none' ? 'is' : 'is not', null)
  if (states) {
    query = query.where((where) =>
      where.or(
        states.map(({ vmState, taskStates }) =>
          taskStates
            ? where.and([where('vmState', '=', vmState), where('taskState', 'in', taskStates)])
            : where('vmState', '=', vmState),
        ),
      ),
    )
  }
  const like = db.kind === 'postgres' ? sql`~*` : sql`regexp`
  if (nameMatches !== undefined) query = query.where(sql<SqlBool>`name ${like} ${nameMatches}`)
  if (ipMatches !== undefined) {
    query = query.where(({ exists, selectFrom }) =>
      exists(
        selectFrom('portAddresses')
          .innerJoin('ports', 'ports.id', 'portAddresses.portId')
          .select('portAddresses.ipAddress')
          .whereRef('ports.deviceId', '=', 'servers.id')
          .where(sql<SqlBool>`"ipAddress" ${like} ${ipMatches}`),
      ),
    )
  }
  if (updatedSince !== undefined) query = query.where('updatedAt', '>=', updatedSince)
  for (const [column, value] of Object.entries(equals) as [keyof Row<'servers'>, never][]) {
    query = query.where(column, '=', value)
  }
  if (marker !== undefined) query = query.where(after(sort, await readMarker(db, filters, marker)))
  for (const { column, direction } of sort) query = query.orderBy(comparable(column), direction)
  try {
    return await query.limit(limit).execute()
  } catch (error) {
    if (!isBadPattern(error)) throw error
    throw new ApiError('badRequest', 'name or ip must be a regular expression of a simpler kind.', { cause: error })
  }
}

/** PostgreSQL's `invalid_regular_expression`: what the check of the query let through, and only this engine minds. */
const isBadPattern = (error: unknown): boolean => (error as { code?: unknown } | null)?.code === '2201B'

/** The server that ended the page before, deleted meanwhile or not. */
async function readMarker(db: Database, filters: ServerFilters, marker: string): Promise<Row<'servers'>> {
  let query = db.read.selectFrom('servers').selectAll().where('id', '=', marker)
  if (filters.projectId !== undefined) query = query.where('projectId', '=', filters.projectId)
  const server = await query.executeTakeFirst()
  if (!server) throw new ApiError('badRequest', `marker [${marker}] could not be found.`)
  return server
}

function comparable(column: keyof Row<'servers'>): RawBuilder<unknown> {
  const whenNull = NULL_SORTS_AS[column]
  const reference = sql.ref(`servers.${column}`)
  return whenNull === undefined ? sql`${reference}` : sql`coalesce(${reference}, ${sql.lit(whenNull)})`
}

/** Whether a row sorts behind the marker. */
function after(sort: ServerFilters['sort'], marker: Row<'servers'>): RawBuilder<SqlBool> {
  const keys = sort.map(({ column, direction }) => ({
    left: comparable(column),
    right: marker[column] ?? NULL_SORTS_AS[column],
    direction,
  }))
  if (keys.every(({ direction }) => direction === keys[0]?.direction)) {
    // One comparison of whole rows is what an index can be entered at.
    const operator = keys[0]?.direction === 'asc' ? sql`>` : sql`<`
    return sql`(${sql.join(keys.map(({ left }) => left))}) ${operator} (${sql.join(keys.map(({ right }) => right))})`
  }
  const choices = keys.map(({ left, right, direction }, index) => {
    const equalSoFar = keys.slice(0, index).map((key) => sql`${key.left} = ${key.right}`)
    const operator = direction === 'asc' ? sql`>` : sql`<`
    return sql`(${sql.join([...equalSoFar, sql`${left} ${operator} ${right}`], sql` and `)})`
  })
  return sql`(${sql.join(choices, sql` or `)})`
}
