/**
 * Microversions of the volume service: which one a request speaks.
 * Source: shared/spec/neighbours.md §5, "Microversion header".
 */
import { ApiError } from '../http/api-error.ts'

/** Both the header of requests and of answers. */
export const VERSION_HEADER = 'OpenStack-API-Version'
/** The newest minor version of 3 that is spoken. */
export const NEWEST_MINOR = 71

/**
 * The minor version that a request asks for: 0 without a word about the volume service.
 * @param header `volume 3.60`, perhaps among those of other services, divided by commas.
 * @throws ApiError badRequest for what is no version; notAcceptable for one that is not spoken.
 */
export function readVolumeVersion(header: string | string[] | undefined): number {
  const words = [header ?? []].flat().flatMap((line) => line.split(','))
  const wish = words.map((word) => /^\s*volume\s+(\S+)\s*$/i.exec(word)?.[1]).find((version) => version !== undefined)
  if (wish === undefined) return 0
  if (wish === 'latest') return NEWEST_MINOR
  const [, major, minor] = /^([1-9]\d{0,8})\.(0|[1-9]\d{0,8})$/.exec(wish) ?? []
  if (major === undefined) {
    throw new ApiError('badRequest', `API Version String ${wish} is of invalid format. It must be like 3.0, or latest.`)
  }
  if (major === '3' && Number(minor) <= NEWEST_MINOR) return Number(minor)
  throw new ApiError(
    'notAcceptable',
    `Version ${wish} is not supported by the API. Minimum is 3.0 and maximum is 3.${NEWEST_MINOR}.`,
  )
}
