const ISO = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?)?$/i

/**
 * Reads an ISO 8601 time as people put it into a URL: a day, or a day and a time with `T` or a blank between. Without
 * a zone it is UTC.
 * @returns milliseconds since 1970; undefined when it is no such time.
 */
export function readInstant(value: string): number | undefined {
  // A `+` of the zone arrives as a blank from clients that do not encode it.
  const text = value.replace(/ (\d\d:?\d\d)$/, '+$1').replace(' ', 'T')
  const [, time, , , zone] = ISO.exec(text) ?? []
  const at = ISO.test(text) ? Date.parse(time && !zone ? `${text}Z` : text) : Number.NaN
  return Number.isNaN(at) ? undefined : at
}
