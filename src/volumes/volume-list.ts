/**
 * Filters, order and pages of lists, on rows that are read already: a project's quota keeps them few.
 * Source: shared/spec/neighbours.md §5.
 */
import { ApiError } from '../http/api-error.ts'
import { readLimit } from '../http/paging.ts'
import { single, type VolumeCall, type VolumeQuery } from './volume-api.ts'

type Comparable = string | number | null
/** What a list can be ordered by, and filtered by where it is compared as it is. */
export type Columns<Row> = Record<string, (row: Row) => Comparable>

export interface ListPage<Row> {
  rows: Row[]
  /** All that were found, on whatever page. */
  count: number
  /** `volumes_links` and its like; undefined when this is the last page. */
  links: { rel: 'next'; href: string }[] | undefined
}

/**
 * The rows whose members are as the query says; members that are no filter are passed over.
 * @param filters by their names in queries.
 */
export function filtered<Row>(rows: readonly Row[], query: VolumeQuery, filters: Columns<Row>): Row[] {
  const wanted = Object.entries(filters).flatMap(([name, read]) => {
    const value = single(query, name)
    const part = single(query, `${name}~`)
    return [
      ...(value === undefined ? [] : [(row: Row) => fits(read(row), value)]),
      ...(part === undefined ? [] : [(row: Row) => String(read(row) ?? '').includes(part)]),
    ]
  })
  return rows.filter((row) => wanted.every((test) => test(row)))
}

/** Nothing is called `None` by clients written in Python. */
const fits = (member: Comparable, value: string): boolean =>
  member === null ? value === 'None' || value === '' : String(member) === value

/** Metadata as queries have it: JSON, or the dictionary that Python prints. @throws ApiError badRequest. */
export function readMetadataFilter(text: string): Record<string, string> {
  for (const candidate of [text, text.replace(/u?'((?:[^'\\]|\\.)*)'/g, (_, inner) => JSON.stringify(inner))]) {
    try {
      const parsed: unknown = JSON.parse(candidate)
      if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)) {
        return Object.fromEntries(Object.entries(parsed).map(([key, value]) => [key, String(value)]))
      }
    } catch {
      // Perhaps it is the other notation.
    }
  }
  throw new ApiError('badRequest', `metadata must be a dictionary such as {'key': 'value'}, not '${text}'.`)
}

/**
 * One page, sorted.
 * @param rows newest first, which is the order without a wish.
 * @throws ApiError badRequest for a bad limit, offset, marker or sort.
 */
export function paged<Row extends { id: string }>(
  rows: readonly Row[],
  call: VolumeCall,
  columns: Columns<Row>,
): ListPage<Row> {
  const { query } = call
  const limit = readLimit(single(query, 'limit'))
  const offset = readOffset(single(query, 'offset'))
  const marker = single(query, 'marker')
  const found = sorted(rows, query, columns)
  const at = marker === undefined ? -1 : found.findIndex(({ id }) => id === marker)
  // Cinder answers 404 here, which clients take for the end of a list that changed meanwhile.
  if (marker !== undefined && at < 0) throw new ApiError('itemNotFound', `Marker ${marker} could not be found.`)
  const from = at + 1 + offset
  const page = found.slice(from, from + limit)
  const last = page.at(-1)
  const hasMore = limit > 0 && last !== undefined && from + page.length < found.length
  return { rows: page, count: found.length, links: hasMore ? nextLink(call, last.id) : undefined }
}

function nextLink({ request, query }: VolumeCall, marker: string): { rel: 'next'; href: string }[] {
  const next = new URLSearchParams()
  for (const [name, values] of Object.entries(query)) {
    if (name !== 'marker' && name !== 'offset') for (const value of [values ?? []].flat()) next.append(name, value)
  }
  next.append('marker', marker)
  return [{ rel: 'next', href: `${request.links.base}${request.url.split('?', 1)[0]}?${next}` }]
}

function readOffset(offset: string | undefined): number {
  if (offset === undefined) return 0
  if (/^\d{1,9}$/.test(offset)) return Number(offset)
  throw new ApiError('badRequest', `offset must be a whole number from 0, not '${offset}'.`)
}

/** `sort=name:asc,size`, or the older `sort_key` and `sort_dir`; descending where nothing is said. */
function sorted<Row extends { id: string }>(rows: readonly Row[], query: VolumeQuery, columns: Columns<Row>): Row[] {
  const sort = single(query, 'sort')
  const key = single(query, 'sort_key')
  if (sort !== undefined && (key !== undefined || query.sort_dir !== undefined)) {
    throw new ApiError('badRequest', "Use 'sort', or 'sort_key' and 'sort_dir', not both.")
  }
  const words = sort?.split(',') ?? (key === undefined ? [] : [`${key}:${single(query, 'sort_dir') ?? 'desc'}`])
  const order = words.map((word) => {
    const [name = '', direction = 'desc'] = word.trim().split(':')
    const read = Object.hasOwn(columns, name) ? columns[name] : undefined
    if (!read) throw new ApiError('badRequest', `'${name}' is nothing to sort by.`)
    if (direction !== 'asc' && direction !== 'desc') {
      throw new ApiError('badRequest', `The direction of a sort is asc or desc, not '${direction}'.`)
    }
    return { read, sign: direction === 'asc' ? 1 : -1 }
  })
  if (order.length === 0) return [...rows]
  return rows.toSorted((a, b) => {
    for (const { read, sign } of order) {
      const difference = compare(read(a), read(b))
      if (difference !== 0) return difference * sign
    }
    return compare(a.id, b.id)
  })
}

function compare(a: Comparable, b: Comparable): number {
  if (a === b) return 0
  if (a === null || b === null) return a === null ? -1 : 1
  return a < b ? -1 : 1
}
