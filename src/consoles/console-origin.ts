/**
 * Whether a page of this origin may open a console: one that came from us. Browsers always send `Origin` with a
 * WebSocket, so its absence means a program, which no page can misuse.
 * @param origin the `Origin` header.
 * @param host the `Host` header.
 * @param publicUrl where a proxy shows us; '' when there is none.
 */
export function isOwnOrigin(origin: string | undefined, host: string | undefined, publicUrl: string): boolean {
  if (origin === undefined) return true
  const from = URL.parse(origin)
  if (!from || !/^https?:$/.test(from.protocol)) return false
  // Read under the same scheme, so that a default port counts as the same whether it is written or not.
  const own = URL.parse(`${from.protocol}//${host}`)
  return (host !== undefined && own?.host === from.host) || URL.parse(publicUrl)?.origin === from.origin
}
