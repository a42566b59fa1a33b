import { ApiError } from './api-error.ts'

/** The most items of one page, and how many there are without a limit. */
export const PAGE_MAX = 1000

/**
 * The size of a page: what is asked, cut to 1000.
 * @throws ApiError badRequest unless it is a whole number from 0.
 */
export function readLimit(limit: string | undefined): number {
  if (limit === undefined) return PAGE_MAX
  if (!/^\d{1,9}$/.test(limit)) throw new ApiError('badRequest', `limit must be a whole number from 0, not '${limit}'.`)
  return Math.min(Number(limit), PAGE_MAX)
}

/**
 * The link to the next page, present when this one is full: the URL of the list with `marker` replaced.
 * @param page ids of this page, in order.
 */
export function nextLink(
  listUrl: string,
  query: Record<string, unknown>,
  page: readonly { id: string }[],
  limit: number,
): { rel: 'next'; href: string }[] | undefined {
  const last = page.at(-1)
  if (!last || page.length < limit) return undefined
  const next = new URLSearchParams()
  for (const key of Object.keys(query).sort()) {
    if (key !== 'marker') for (const value of [query[key]].flat()) next.append(key, String(value))
  }
  next.append('marker', last.id)
  return [{ rel: 'next', href: `${listUrl}?${next}` }]
}
