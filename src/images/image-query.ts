/**
 * Reads the query of an image list: paging, order, filters. Every member that is none of the known ones asks for
 * a property of that name and value. Pure: it knows columns, but asks no database.
 * Source: shared/spec/neighbours.md section 3, and glance/api/v2/images.py.
 */
import type { SortColumn } from '../db/keyset.ts'
import type { Row } from '../db/schema.ts'
import { ApiError } from '../http/api-error.ts'
import { readInstant } from '../lib/read-instant.ts'

type ImageColumn = keyof Row<'images'>
type SortableColumn =
  | 'name'
  | 'status'
  | 'containerFormat'
  | 'diskFormat'
  | 'sizeBytes'
  | 'id'
  | 'createdAt'
  | 'updatedAt'

/** One thing that must hold for an image of the list. */
export type ImageCondition =
  | { kind: 'compare'; column: ImageColumn; operator: '=' | '<' | '<=' | '>' | '>='; value: string | number }
  | { kind: 'oneOf'; column: ImageColumn; values: readonly string[] }
  /** The column, a text of JSON, has one of these parts. */
  | { kind: 'holds'; column: 'tags' | 'properties'; parts: readonly string[] }
  /** Both ends included. */
  | { kind: 'between'; column: ImageColumn; from: number; to: number; isOutside: boolean }

/** Which of the images that others share with the caller: those in this status of the membership. */
export type MemberScope = 'accepted' | 'pending' | 'rejected' | 'all'

export interface ImageQuery {
  conditions: ImageCondition[]
  /** What there is to choose from. */
  scope: { withCommunity: boolean; memberStatus: MemberScope }
  /** Ends with `id`. */
  order: SortColumn<SortableColumn>[]
  limit: number
  marker: string | undefined
}

/** Members of a query as they came; one that came more than once is a list. */
export type RawQuery = Readonly<Record<string, string | readonly string[]>>

/** The size of a page unless asked otherwise, and at most. */
const PAGE = { byDefault: 25, max: 1000 }

const SORT_KEYS: Readonly<Record<string, SortableColumn>> = {
  name: 'name',
  status: 'status',
  container_format: 'containerFormat',
  disk_format: 'diskFormat',
  size: 'sizeBytes',
  id: 'id',
  created_at: 'createdAt',
  updated_at: 'updatedAt',
}

const STATUSES = [
  ...['queued', 'saving', 'uploading', 'importing', 'active', 'deactivated', 'killed', 'deleted', 'pending_delete'],
]
/** What is not known yet comes before what is. */
const NULLS: Readonly<Partial<Record<SortableColumn, string | number>>> = {
  name: '',
  containerFormat: '',
  diskFormat: '',
  sizeBytes: -1,
}

const MEMBER_STATUSES = ['accepted', 'pending', 'rejected', 'all']
const VISIBILITIES = ['public', 'private', 'shared', 'community', 'all']
const OPERATORS = { lt: '<', lte: '<=', gt: '>', gte: '>=' } as const
/** The most filters of one query: each nests what the database reads one deeper, and it gives up at a thousand. */
const CONDITIONS_MAX = 50
const PAGING = new Set(['limit', 'marker', 'sort', 'sort_key', 'sort_dir'])

const bad = (message: string): ApiError => new ApiError('badRequest', message)

/** @throws ApiError badRequest naming the member that makes no sense. */
export function readImageQuery(query: RawQuery): ImageQuery {
  const conditions = Object.entries(query)
    .filter(([name]) => !PAGING.has(name))
    .flatMap(([name, values]) => [values].flat().map((value) => readFilter(name, String(value))))
    .filter((condition) => condition !== undefined)
  if (conditions.length > CONDITIONS_MAX) throw bad(`There must be at most ${CONDITIONS_MAX} filters.`)
  // Hidden images are found by those who ask for them.
  if (query.os_hidden === undefined) conditions.push(flagFilter('isHidden', false))
  return {
    conditions,
    scope: readScope(query),
    order: readOrder(query),
    limit: readLimit(last(query.limit)),
    marker: last(query.marker),
  }
}

function last(value: string | readonly string[] | undefined): string | undefined {
  return [value ?? []].flat().at(-1)
}

function readLimit(limit: string | undefined): number {
  if (limit === undefined) return PAGE.byDefault
  if (!/^\d{1,9}$/.test(limit)) throw bad(`limit must be a whole number from 0, not '${limit}'.`)
  return Math.min(Number(limit), PAGE.max)
}

function readFilter(name: string, value: string): ImageCondition | undefined {
  switch (name) {
    case 'id':
    case 'name':
      return textFilter(name, name, value)
    case 'container_format':
      return textFilter('containerFormat', name, value)
    case 'disk_format':
      return textFilter('diskFormat', name, value)
    case 'status':
      return textFilter('status', name, value, STATUSES)
    case 'visibility':
      if (!VISIBILITIES.includes(value)) throw bad(`visibility must be one of ${VISIBILITIES.join(', ')}.`)
      return value === 'all' ? undefined : { kind: 'compare', column: 'visibility', operator: '=', value }
    case 'owner':
      return { kind: 'compare', column: 'projectId', operator: '=', value }
    case 'checksum':
      return { kind: 'compare', column: 'checksum', operator: '=', value }
    case 'os_hash_algo':
      return { kind: 'compare', column: 'hashAlgorithm', operator: '=', value }
    case 'os_hash_value':
      return { kind: 'compare', column: 'hashValue', operator: '=', value }
    case 'size':
      return { kind: 'compare', column: 'sizeBytes', operator: '=', value: readSize(name, value) }
    case 'size_min':
      return { kind: 'compare', column: 'sizeBytes', operator: '>=', value: readSize(name, value) }
    case 'size_max':
      return { kind: 'compare', column: 'sizeBytes', operator: '<=', value: readSize(name, value) }
    case 'min_ram':
      return { kind: 'compare', column: 'minRamMib', operator: '=', value: readSmall(name, value) }
    case 'min_disk':
      return { kind: 'compare', column: 'minDiskGib', operator: '=', value: readSmall(name, value) }
    case 'protected':
      return flagFilter('isProtected', readFlag(name, value))
    case 'os_hidden':
      return flagFilter('isHidden', readFlag(name, value))
    case 'member_status':
      // Part of the scope.
      if (!MEMBER_STATUSES.includes(value)) throw bad(`member_status must be one of ${MEMBER_STATUSES.join(', ')}.`)
      return undefined
    case 'created_at':
      return timeFilter('createdAt', name, value)
    case 'updated_at':
      return timeFilter('updatedAt', name, value)
    case 'tag':
      return { kind: 'holds', column: 'tags', parts: [JSON.stringify(value)] }
    default:
      return propertyFilter(name, value)
  }
}

function readScope({ visibility, member_status }: RawQuery): ImageQuery['scope'] {
  const wanted = [visibility ?? []].flat()
  return {
    withCommunity: wanted.includes('community') || wanted.includes('all'),
    memberStatus: (last(member_status) ?? 'accepted') as MemberScope,
  }
}

const flagFilter = (column: 'isProtected' | 'isHidden', value: boolean): ImageCondition => ({
  kind: 'compare',
  column,
  operator: '=',
  value: value ? 1 : 0,
})

/** A word, or `in:` and some words with commas between, each in double quotes if it holds a comma. */
function textFilter(column: ImageColumn, name: string, value: string, choices?: readonly string[]): ImageCondition {
  const values = value.startsWith('in:') ? splitList(name, value.slice(3)) : [value]
  const wrong = choices && values.find((one) => !choices.includes(one))
  if (wrong !== undefined) throw bad(`${name} must be one of ${choices?.join(', ')}, not '${wrong}'.`)
  return { kind: 'oneOf', column, values }
}

function splitList(name: string, list: string): string[] {
  const words = [...list.matchAll(/(?:^|,)(?:"([^"]*)"|([^",]*))(?=,|$)/g)]
  if (words.reduce((length, [all]) => length + all.length, 0) !== list.length) {
    throw bad(`${name} must be in: and words with commas between, quoted where they hold commas.`)
  }
  return words.map(([, quoted, bare]) => quoted ?? bare ?? '')
}

function readSize(name: string, value: string): number {
  if (!/^\d{1,15}$/.test(value)) throw bad(`${name} must be a whole number of bytes, not '${value}'.`)
  return Number(value)
}

function readSmall(name: string, value: string): number {
  if (!/^\d{1,9}$/.test(value)) throw bad(`${name} must be a whole number, not '${value}'.`)
  return Number(value)
}

function readFlag(name: string, value: string): boolean {
  if (!/^(true|false)$/i.test(value)) throw bad(`${name} must be true or false, not '${value}'.`)
  return value.toLowerCase() === 'true'
}

/** `gte:2026-01-01T00:00:00Z`; equal without an operator. Times are compared by the second, as they are shown. */
function timeFilter(column: 'createdAt' | 'updatedAt', name: string, value: string): ImageCondition {
  const [, word = 'eq', time = ''] = /^(?:(eq|neq|lte?|gte?):)?(.*)$/s.exec(value) ?? []
  const at = readInstant(time)
  if (at === undefined) throw bad(`${name} must be an ISO 8601 time, perhaps with one of gt: gte: lt: lte: eq: neq:.`)
  const [from, to] = [at - (at % 1000), at - (at % 1000) + 999]
  if (word === 'eq' || word === 'neq') return { kind: 'between', column, from, to, isOutside: word === 'neq' }
  const operator = OPERATORS[word as keyof typeof OPERATORS]
  return { kind: 'compare', column, operator, value: operator === '>' || operator === '<=' ? to : from }
}

/**
 * Properties are kept as JSON of texts, `{"a":"b","c":"d"}`. Within a text, quotes are escaped, so a name and value
 * with their own quotes, behind a comma or the brace, cannot be found inside another value.
 */
function propertyFilter(name: string, value: string): ImageCondition {
  const pair = `${JSON.stringify(name)}:${JSON.stringify(value)}`
  return { kind: 'holds', column: 'properties', parts: [`{${pair}`, `,${pair}`] }
}

/** `sort=name:asc,size`, or `sort_key` and `sort_dir`, each perhaps repeated; newest first without either. */
function readOrder(query: RawQuery): SortColumn<SortableColumn>[] {
  const order = [...readSort(query)].map(([key, direction]): SortColumn<SortableColumn> => {
    const column = Object.hasOwn(SORT_KEYS, key) ? SORT_KEYS[key] : undefined
    if (!column) throw bad(`Images cannot be sorted by '${key}'; they can by ${Object.keys(SORT_KEYS).join(', ')}.`)
    if (direction !== 'asc' && direction !== 'desc') throw bad(`They can be sorted asc or desc, not '${direction}'.`)
    const nullSortsAs = NULLS[column]
    return { column, isDescending: direction === 'desc', ...(nullSortsAs === undefined ? {} : { nullSortsAs }) }
  })
  if (!order.some(({ column }) => column === 'createdAt')) order.push({ column: 'createdAt', isDescending: true })
  const idAt = order.findIndex(({ column }) => column === 'id')
  return idAt === -1 ? [...order, { column: 'id', isDescending: true }] : order.slice(0, idAt + 1)
}

/** Sort keys and their directions, in order. */
function readSort(query: RawQuery): Map<string, string> {
  const [keys, directions] = [[query.sort_key ?? []].flat(), [query.sort_dir ?? []].flat()]
  if (query.sort !== undefined) {
    if (keys.length + directions.length > 0) throw bad('Use either sort, or sort_key and sort_dir.')
    const parts = [query.sort].flat().flatMap((sort) => sort.split(','))
    return new Map(parts.map((part) => [part.split(':', 1)[0] ?? '', /:(.*)$/.exec(part)?.[1] ?? 'desc']))
  }
  if (keys.length === 0) keys.push('created_at')
  if (directions.length > 1 && directions.length !== keys.length) {
    throw bad('There must be one sort_dir, or as many as there are sort_keys.')
  }
  return new Map(keys.map((key, place) => [key, directions[place] ?? directions[0] ?? 'desc']))
}
