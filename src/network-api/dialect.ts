/** The network API is spoken twice: as UOS has it at the root, and as Neutron has it below `/network`, for stock SDKs. */
export type NetworkDialect = 'uos' | 'neutron'

/** Where each dialect lives. */
export const NETWORK_PREFIXES: readonly { prefix: string; dialect: NetworkDialect }[] = [
  { prefix: '/v2.0', dialect: 'uos' },
  { prefix: '/network/v2.0', dialect: 'neutron' },
]

/**
 * The URL without what clients put in for nothing: `.json` at the end of a path, which UOS shows and Neutron ignores, and
 * the version twice, from those who append it to a URL that has it.
 */
export function plainNetworkUrl(url: string): string {
  if (!/^\/(network\/)?v2\.0\//.test(url)) return url
  const [path = '', query] = url.split(/\?(.*)/s)
  const plain = path.replace(/^\/network\/v2\.0\/v2\.0\//, '/network/v2.0/').replace(/\.json$/, '')
  return query === undefined ? plain : `${plain}?${query}`
}
