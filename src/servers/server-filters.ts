/**
 * The query of a list of servers: what it means, decided without asking anybody.
 * Source: shared/spec/faults.md, section 5.
 */
import { RE2JS } from 're2js'
import type { SortColumn } from '../db/keyset.ts'
import type { Row, TaskState, VmState } from '../db/schema.ts'
import { ApiError } from '../http/api-error.ts'
import { readLimit } from '../http/paging.ts'
import type { Caller } from '../http/policy.ts'
import { readInstant } from '../lib/read-instant.ts'
import { statesOf } from './server-state.ts'

export type Query = Record<string, string | string[] | undefined>
type Column = keyof Row<'servers'>

/** A regular expression that both databases read alike. */
export interface Pattern {
  text: string
  /** Instructions of the compiled pattern: each may be looked at for each character of a text. */
  size: number
}

export interface ServerFilters {
  limit: number
  marker: string | undefined
  /** Undefined: servers of all projects. */
  projectId: string | undefined
  /** Which of deleted and living servers: only deleted, only living, or both. */
  deleted: 'only' | 'none' | 'both'
  /** Each list is an or; undefined finds everything, an empty one nothing. */
  states: { vmState: VmState; taskStates?: TaskState[] }[] | undefined
  /** Regular expressions, searched in any case. */
  nameMatches: Pattern | undefined
  ipMatches: Pattern | undefined
  updatedSince: number | undefined
  equals: Partial<Row<'servers'>>
  sort: SortColumn<Column>[]
}

/** Keys by which admins alone may filter; the same keys from others are dropped. */
const ADMIN_EQUALS: Record<string, Column> = {
  host: 'hostName',
  vm_state: 'vmState',
  task_state: 'taskState',
  key_name: 'keyName',
  user_id: 'userId',
  uuid: 'id',
  availability_zone: 'availabilityZone',
}
const EQUALS: Record<string, Column> = { image: 'imageId', flavor: 'flavorId', reservation_id: 'reservationId' }

const SORT_KEYS: Record<string, Column> = {
  created_at: 'createdAt',
  updated_at: 'updatedAt',
  launched_at: 'launchedAt',
  terminated_at: 'terminatedAt',
  display_name: 'name',
  uuid: 'id',
  vm_state: 'vmState',
  task_state: 'taskState',
  power_state: 'powerState',
  project_id: 'projectId',
  user_id: 'userId',
  host: 'hostName',
  availability_zone: 'availabilityZone',
  image_ref: 'imageId',
  instance_type_id: 'flavorId',
  key_name: 'keyName',
  launch_index: 'launchIndex',
  access_ip_v4: 'accessIpv4',
  access_ip_v6: 'accessIpv6',
  progress: 'progress',
}

/** Columns that may be null, and what null sorts as; the others are compared as they are, so that an index serves. */
const NULL_SORTS_AS: Partial<Record<Column, string | number>> = {
  launchedAt: 0,
  terminatedAt: 0,
  taskState: '',
  hostName: '',
  keyName: '',
}

/** @throws ApiError badRequest for a value that cannot be meant; forbidden for what only admins may ask. */
export function readServerFilters(query: Query, caller: Caller): ServerFilters {
  for (const key of Object.keys(query)) {
    if (key.startsWith('_')) throw new ApiError('badRequest', `There is no filter '${key}'.`)
  }
  const one = (key: string): string | undefined => [query[key]].flat().at(-1)
  const changesSince = one('changes-since')
  const equals: Partial<Record<Column, string | number>> = {}
  for (const [keys, isAllowed] of [
    [EQUALS, true],
    [ADMIN_EQUALS, caller.isAdmin],
  ] as const) {
    for (const [key, column] of Object.entries(keys)) {
      const value = one(key)
      if (isAllowed && value !== undefined) equals[column] = value
    }
  }
  const powerState = one('power_state')
  if (caller.isAdmin && powerState !== undefined) equals.powerState = readPowerState(powerState)

  const allProjects = readAllTenants(one('all_tenants'), caller)
  // Each once: SQLite takes no more than a thousand alternatives.
  const statuses = [...new Set([query.status].flat().map((status) => status?.toUpperCase()))].filter(
    (status) => status !== undefined,
  )
  const wantsDeleted = statuses.includes('DELETED')
  if (wantsDeleted && !caller.isAdmin) throw new ApiError('forbidden', 'Only admins may list deleted servers.')
  const deleted = caller.isAdmin ? readBoolean(one('deleted')) : undefined
  return {
    limit: readLimit(one('limit')),
    marker: one('marker'),
    projectId: allProjects ? (one('project_id') ?? one('tenant_id')) : caller.projectId,
    deleted: deleted === true || wantsDeleted ? 'only' : changesSince !== undefined ? 'both' : 'none',
    states: statuses.length === 0 ? undefined : statuses.flatMap((status) => statesOf(status) ?? []),
    nameMatches: readPattern('name', one('name')),
    ipMatches: readPattern('ip', one('ip')),
    updatedSince: changesSince === undefined ? undefined : readChangesSince(changesSince),
    equals: equals as Partial<Row<'servers'>>,
    sort: readSort([query.sort_key].flat(), [query.sort_dir].flat(), caller),
  }
}

function readAllTenants(value: string | undefined, caller: Caller): boolean {
  if (value === undefined) return false
  const isWanted = value === '' ? true : readBoolean(value)
  if (isWanted === undefined) throw new ApiError('badRequest', `all_tenants must be true or false, not '${value}'.`)
  if (isWanted && !caller.isAdmin) throw new ApiError('forbidden', 'Only admins may list the servers of all projects.')
  return isWanted
}

function readBoolean(value: string | undefined): boolean | undefined {
  if (value === undefined) return undefined
  if (/^(1|t|true|on|y|yes)$/i.test(value)) return true
  return /^(0|f|false|off|n|no)$/i.test(value) ? false : undefined
}

/** A name is no longer, and a longer pattern only costs time. */
const PATTERN_LENGTH = 255
/** Instructions of a pattern: enough to ask for the longest name, letter by letter. */
const PATTERN_SIZE = 300
/** PostgreSQL repeats no more often. */
const REPEATS = 255

/**
 * What both databases read alike, RE2 here and PostgreSQL's own engine there: no escapes but classes and literals, no
 * groups but `(...)` and `(?:...)`.
 */
function isCommonPattern(pattern: string): boolean {
  for (const [, escaped, group, count] of pattern.matchAll(/\\(.)|(\(\?)(?!:)|\{\d*,?(\d+)\}/gsu)) {
    if (escaped !== undefined && /[a-z0-9]/i.test(escaped) && !/[dws]/i.test(escaped)) return false
    if (group !== undefined || Number(count) > REPEATS) return false
  }
  return true
}

function readPattern(key: string, value: string | undefined): Pattern | undefined {
  if (value === undefined || value === '') return undefined
  const refuse = (reason: string, cause?: unknown): never => {
    throw new ApiError('badRequest', `${key} must be a regular expression${reason}, not '${value.slice(0, 255)}'.`, {
      cause,
    })
  }
  if (value.length > PATTERN_LENGTH) refuse(` of at most ${PATTERN_LENGTH} characters`)
  let size = 0
  try {
    size = RE2JS.compile(value, RE2JS.CASE_INSENSITIVE).programSize()
  } catch (error) {
    refuse('', error)
  }
  if (!isCommonPattern(value)) {
    refuse(` with no escapes but \\d, \\w, \\s and literals, no (?…) but (?:…), and at most ${REPEATS} repeats`)
  }
  if (size > PATTERN_SIZE) refuse(' with fewer repeats')
  return { text: value, size }
}

function readChangesSince(value: string): number {
  const at = readInstant(value)
  if (at === undefined) throw new ApiError('badRequest', `changes-since must be an ISO 8601 time, not '${value}'.`)
  return at
}

function readPowerState(value: string): number {
  if (!/^\d$/.test(value)) throw new ApiError('badRequest', `power_state must be a number, not '${value}'.`)
  return Number(value)
}

function readSort(keys: (string | undefined)[], directions: (string | undefined)[], caller: Caller) {
  const sort: SortColumn<Column>[] = []
  const add = (column: Column, isDescending: boolean) => {
    if (sort.some((known) => known.column === column)) return
    sort.push({ column, isDescending, nullSortsAs: NULL_SORTS_AS[column] })
  }
  for (const [index, key] of keys.filter((one) => one !== undefined).entries()) {
    const column = Object.hasOwn(SORT_KEYS, key) ? SORT_KEYS[key] : undefined
    if (!column) throw new ApiError('badRequest', `Servers cannot be sorted by '${key}'.`)
    if (column === 'hostName' && !caller.isAdmin) throw new ApiError('forbidden', 'Only admins may sort by host.')
    const direction = directions[index] ?? 'desc'
    if (direction !== 'asc' && direction !== 'desc') {
      throw new ApiError('badRequest', `sort_dir must be asc or desc, not '${direction}'.`)
    }
    add(column, direction === 'desc')
  }
  // A total order makes pages neither overlap nor leave gaps.
  const isDescending = sort.at(-1)?.isDescending ?? true
  add('createdAt', isDescending)
  add('id', isDescending)
  return sort
}
