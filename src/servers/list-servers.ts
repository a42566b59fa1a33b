import { type SqlBool, sql } from 'kysely'
import type { Database } from '../db/database.ts'
import { comesAfter, inOrder } from '../db/keyset.ts'
import type { Row } from '../db/schema.ts'
import { ApiError } from '../http/api-error.ts'
import type { Pattern, ServerFilters } from './server-filters.ts'

/**
 * One page of servers that pass the filters; newest first unless sorted otherwise; empty when `marker` is the last.
 * @throws ApiError badRequest when `marker` is no server within reach, or a pattern would take too long.
 */
export async function listServers(db: Database, filters: ServerFilters): Promise<Row<'servers'>[]> {
  const { states, nameMatches, ipMatches, sort, marker, limit } = filters
  if (limit === 0 || states?.length === 0) {
    if (marker !== undefined) await readMarker(db, filters, marker)
    return []
  }
  let query = serversToSearch(db, filters)
  if (marker !== undefined) query = query.where(comesAfter(sort, await readMarker(db, filters, marker)))
  const like = db.kind === 'postgres' ? sql`~*` : sql`regexp`
  const plain = query
  if (nameMatches) {
    await checkWork('name', nameMatches, plain.select(sql<number | null>`sum(length(name))`.as('characters')))
    query = query.where(sql<SqlBool>`name ${like} ${nameMatches.text}`)
  }
  if (ipMatches) {
    const addresses = db.read
      .selectFrom('portAddresses')
      .innerJoin('ports', 'ports.id', 'portAddresses.portId')
      .where('ports.deviceId', 'in', plain.select('servers.id'))
    await checkWork('ip', ipMatches, addresses.select(sql<number | null>`sum(length("ipAddress"))`.as('characters')))
    query = query.where(({ exists, selectFrom }) =>
      exists(
        selectFrom('portAddresses')
          .innerJoin('ports', 'ports.id', 'portAddresses.portId')
          .select('portAddresses.ipAddress')
          .whereRef('ports.deviceId', '=', 'servers.id')
          .where(sql<SqlBool>`"ipAddress" ${like} ${ipMatches.text}`),
      ),
    )
  }
  try {
    return await query.selectAll('servers').orderBy(inOrder(sort)).limit(limit).execute()
  } catch (error) {
    if (!isBadPattern(error)) throw error
    throw new ApiError('badRequest', 'name or ip must be a regular expression of a simpler kind.', { cause: error })
  }
}

/** What all filters leave but those by pattern; `listServers` adds these, the order and the page. */
export function serversToSearch(db: Database, filters: ServerFilters) {
  const { projectId, deleted, states, updatedSince, equals } = filters
  let query = db.read.selectFrom('servers')
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
  if (updatedSince !== undefined) query = query.where('updatedAt', '>=', updatedSince)
  for (const [column, value] of Object.entries(equals) as [keyof Row<'servers'>, never][]) {
    query = query.where(column, '=', value)
  }
  return query
}

/**
 * How much matching one query may cost: instructions of the pattern times characters it is held against. A text is
 * matched on the thread that answers everybody, some ten million of these a second.
 */
const WORK_MAX = 2_000_000

/** @throws ApiError badRequest when the texts are too many and too long for this pattern. */
async function checkWork(
  key: string,
  { size }: Pattern,
  texts: { executeTakeFirst(): Promise<{ characters: number | null } | undefined> },
): Promise<void> {
  const characters = Number((await texts.executeTakeFirst())?.characters ?? 0)
  if (size * characters <= WORK_MAX) return
  const message = `${key} is too long a regular expression for so many servers; shorten it, or filter by more than that.`
  throw new ApiError('badRequest', message)
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
