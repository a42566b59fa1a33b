/** Parts of an image: those that a client sends one after another, and those that it wants. Pure. Source: RFC 9110, 14. */

/** What a client says of the bytes it sends; both ends included. Null for `from`: it only asks how many are here. */
export interface SentRange {
  from: number | null
  to: number
  total: number
}

/** A `Content-Range` of a request; undefined for one that makes no sense. */
export function readContentRange(header: string): SentRange | undefined {
  const [, from, to, total] = /^bytes (?:(\d{1,15})-(\d{1,15})|\*)\/(\d{1,15})$/i.exec(header.trim()) ?? []
  if (total === undefined) return undefined
  if (from === undefined) return { from: null, to: Number(total) - 1, total: Number(total) }
  const range = { from: Number(from), to: Number(to), total: Number(total) }
  return range.from <= range.to && range.to < range.total ? range : undefined
}

/** A wanted part, both ends included. */
export interface WantedRange {
  from: number
  to: number
}

/**
 * What a `Range` asks of so many bytes. `all`: there is none, or one of several parts or of other units, which may be
 * ignored; `none`: nothing of it is there.
 */
export function readRange(header: string | undefined, sizeBytes: number): WantedRange | 'all' | 'none' {
  const [, first = '', last = ''] = /^bytes=(\d{0,15})-(\d{0,15})$/i.exec(header?.trim() ?? '') ?? []
  if (first === '' && last === '') return 'all'
  if (first === '') {
    const wanted = Math.min(Number(last), sizeBytes)
    return wanted === 0 ? 'none' : { from: sizeBytes - wanted, to: sizeBytes - 1 }
  }
  const from = Number(first)
  // A part that ends before it begins is no range.
  if (last !== '' && Number(last) < from) return 'all'
  if (from >= sizeBytes) return 'none'
  return { from, to: last === '' ? sizeBytes - 1 : Math.min(Number(last), sizeBytes - 1) }
}
