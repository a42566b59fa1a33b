/**
 * Which version of the compute API a request speaks. Versions are 2.N; inside, a version is its N.
 * Source: shared/spec/microversions.md, "How a version is chosen".
 */
import { ApiError } from '../http/api-error.ts'

export const OLDEST_VERSION = 1
/** The newest version all of whose operations answer as that version says. */
export const NEWEST_VERSION = 1

export const versionText = (version: number): string => `2.${version}`

const SERVICE_HEADER = 'openstack-api-version'
const NOVA_HEADER = 'x-openstack-nova-api-version'
const VERSION = /^[1-9]\d*\.([1-9]\d*|0)$/

/** What an answer says of its version; caches must tell answers of different versions apart. */
export const versionHeaders = (version: number): Record<string, string> => ({
  'openstack-api-version': `compute ${versionText(version)}`,
  'x-openstack-nova-api-version': versionText(version),
  vary: 'OpenStack-API-Version, X-OpenStack-Nova-API-Version',
})

/**
 * The version that the headers ask for; the oldest when they ask for none.
 * @throws ApiError badRequest for what is no version; notAcceptable for one that is not offered.
 */
export function readMicroversion(headers: Record<string, string | string[] | undefined>): number {
  const wished = readServiceHeader(headers[SERVICE_HEADER]) ?? lastOf(headers[NOVA_HEADER])
  if (wished === undefined) return OLDEST_VERSION
  if (wished.toLowerCase() === 'latest') return NEWEST_VERSION
  if (!VERSION.test(wished)) {
    throw new ApiError('badRequest', `API version '${wished.slice(0, 100)}' must be a version like 2.1, or latest.`)
  }
  const [major, minor] = wished.split('.').map(Number)
  if (major === 2 && minor !== undefined && minor >= OLDEST_VERSION && minor <= NEWEST_VERSION) return minor
  const offered = `from ${versionText(OLDEST_VERSION)} to ${versionText(NEWEST_VERSION)}`
  throw new ApiError('notAcceptable', `Version ${wished.slice(0, 100)} is not offered; versions ${offered} are.`)
}

const partsOf = (header: string | string[] | undefined): string[] =>
  [header ?? []]
    .flat()
    .flatMap((one) => one.split(','))
    .map((part) => part.trim())

const lastOf = (header: string | string[] | undefined): string | undefined => partsOf(header).at(-1)

/** Several services share the header, each with its version; the last entry of a service counts. */
function readServiceHeader(header: string | string[] | undefined): string | undefined {
  const entries = partsOf(header).map((part) => part.split(/\s+/))
  const entry = entries.findLast(([service]) => service?.toLowerCase() === 'compute')
  return entry && (entry.slice(1).join(' ') || '')
}
