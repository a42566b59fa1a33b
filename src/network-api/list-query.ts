/**
 * The query of a list: every member is a filter, `fields` trims, `sort_key` orders, `limit` and `marker` cut pages. Pure:
 * works on what is about to be shown, so that it finds exactly what the answer says.
 * Source: shared/spec/neighbours.md §4, "General".
 */
import { networkError } from './network-errors.ts'

export type Query = Record<string, string | string[] | undefined>
/** One thing as the answer shows it. */
export type Shown = Record<string, unknown> & { id: string }

/** Words of the query that are no filters. */
const RESERVED = new Set(['fields', 'limit', 'marker', 'page_reverse', 'sort_key', 'sort_dir'])
const TAG_FILTERS = new Set(['tags', 'tags-any', 'not-tags', 'not-tags-any'])
/** The largest page; more is cut to it. */
const PAGE_MAX = 1_000

export interface Page {
  items: Shown[]
  /** Where the pages beside this one begin; null when there is none, undefined when no pages were asked for. */
  links: { next: URLSearchParams | null; previous: URLSearchParams | null } | undefined
}

/**
 * The part of `all` that a query asks for.
 * @param all everything the caller may see, in the order it has without a wish.
 * @throws ApiError BadRequest for a bad limit, marker or sort.
 */
export function selectPage(all: readonly Shown[], query: Query): Page {
  const found = sorted(all.filter(filterOf(query)), query)
  const limit = readLimit(query)
  const isReverse = /^(true|1)$/i.test(single(query, 'page_reverse') ?? '')
  const marker = single(query, 'marker')
  const at = marker === undefined ? -1 : found.findIndex(({ id }) => id === marker)
  if (marker !== undefined && at < 0) throw networkError('BadRequest', `Marker ${marker} could not be found.`)
  if (limit === undefined && marker === undefined) return { items: found, links: undefined }
  const most = limit ?? found.length
  const [from, to] = isReverse
    ? [Math.max(0, (marker === undefined ? found.length : at) - most), marker === undefined ? found.length : at]
    : [at + 1, at + 1 + most]
  const items = found.slice(from, to)
  return {
    items,
    links: {
      next: to < found.length ? pageQuery(query, items.at(-1), false) : null,
      previous: from > 0 ? pageQuery(query, items[0], true) : null,
    },
  }
}

/** Only the members that `fields` names; all without it. */
export function trim(shown: Shown, query: Query): Record<string, unknown> {
  const fields = [query.fields ?? []].flat().flatMap((field) => field.split(','))
  if (fields.length === 0) return shown
  return Object.fromEntries(Object.entries(shown).filter(([name]) => fields.includes(name)))
}

/** The values of a filter, for who looks rows up by it; undefined when it is not in the query. */
export function filterValues(query: Query, ...names: string[]): string[] | undefined {
  const values = names.flatMap((name) => (Object.hasOwn(query, name) ? [query[name] ?? []].flat() : []))
  return values.length > 0 ? values : undefined
}

function filterOf(query: Query): (shown: Shown) => boolean {
  const filters = Object.entries(query)
    .filter(([name]) => !RESERVED.has(name))
    .map(([name, values]) => ({ name, values: [values ?? []].flat() }))
  return (shown) =>
    filters.every(({ name, values }) => {
      if (TAG_FILTERS.has(name)) return hasTags(name, (shown.tags ?? []) as string[], values)
      // Unknown words are ignored, as the service does without its extension `filter-validation`.
      if (!Object.hasOwn(shown, name)) return true
      return values.some((value) => matches(shown[name], value))
    })
}

function matches(member: unknown, wanted: string): boolean {
  if (Array.isArray(member)) return member.some((item) => matchesItem(item, wanted))
  if (typeof member === 'boolean') return new RegExp(`^(${member}|${Number(member)})$`, 'i').test(wanted)
  if (member === null) return wanted === '' || wanted === 'None' || wanted === 'null'
  return String(member) === wanted
}

/** `fixed_ips=ip_address=10.0.0.3` asks for a member of the list's items; `_substr` for a part of it. */
function matchesItem(item: unknown, wanted: string): boolean {
  if (typeof item !== 'object' || item === null) return String(item) === wanted
  const [, name = '', value = ''] = /^([a-z_]+)=(.*)$/s.exec(wanted) ?? []
  const members = item as Record<string, unknown>
  if (name.endsWith('_substr')) return String(members[name.slice(0, -'_substr'.length)] ?? '').includes(value)
  return Object.hasOwn(members, name) && String(members[name]) === value
}

function hasTags(filter: string, tags: readonly string[], values: readonly string[]): boolean {
  const wanted = values.flatMap((value) => value.split(','))
  const all = wanted.every((tag) => tags.includes(tag))
  const any = wanted.some((tag) => tags.includes(tag))
  return { tags: all, 'tags-any': any, 'not-tags': !all, 'not-tags-any': !any }[filter] ?? true
}

function sorted(items: Shown[], query: Query): Shown[] {
  const keys = [query.sort_key ?? []].flat().flatMap((key) => key.split(','))
  const directions = [query.sort_dir ?? []].flat().flatMap((direction) => direction.split(','))
  for (const direction of directions) {
    if (direction !== 'asc' && direction !== 'desc') {
      throw networkError('BadRequest', `sort_dir is asc or desc, not '${direction}'.`)
    }
  }
  const [example] = items
  const isSortable = (key: string) =>
    example !== undefined && Object.hasOwn(example, key) && (example[key] === null || typeof example[key] !== 'object')
  const unknown = example && keys.find((key) => !isSortable(key))
  if (unknown !== undefined) throw networkError('BadRequest', `'${unknown}' is nothing to sort by.`)
  if (keys.length === 0) return items
  return items.toSorted((a, b) => {
    for (const [index, key] of keys.entries()) {
      const order = compare(a[key], b[key])
      if (order !== 0) return directions[index] === 'desc' ? -order : order
    }
    return compare(a.id, b.id)
  })
}

function compare(a: unknown, b: unknown): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b
  const [left, right] = [String(a ?? ''), String(b ?? '')]
  return left < right ? -1 : left > right ? 1 : 0
}

function readLimit(query: Query): number | undefined {
  const limit = single(query, 'limit')
  if (limit === undefined) return undefined
  if (!/^\d{1,9}$/.test(limit)) {
    throw networkError('BadRequest', `limit must be a whole number from 0, not '${limit}'.`)
  }
  // Zero means no limit here, unlike in the compute service.
  return limit === '0' ? undefined : Math.min(Number(limit), PAGE_MAX)
}

function pageQuery(query: Query, marker: Shown | undefined, isReverse: boolean): URLSearchParams {
  const next = new URLSearchParams()
  for (const [name, values] of Object.entries(query)) {
    if (name === 'marker' || name === 'page_reverse') continue
    for (const value of [values ?? []].flat()) next.append(name, value)
  }
  if (marker) next.append('marker', marker.id)
  if (isReverse) next.append('page_reverse', 'True')
  return next
}

const single = (query: Query, name: string): string | undefined => [query[name] ?? []].flat()[0]
