import { ApiError, type Fault } from '../http/api-error.ts'
import { retold } from '../network-api/network-errors.ts'

/** What the compute service answers otherwise than the network service. Source: shared/spec/faults.md, section 2. */
const FAULTS: Readonly<Record<string, Fault>> = { OverQuota: 'forbidden', IpAddressGenerationFailure: 'badRequest' }

/** A failure of the network's stores as compute tells it; every other error as it is. */
export const asComputeError = (error: unknown): unknown => retold(error, FAULTS)

/** What a create answers otherwise than the volume service: what it names wrongly is its own mistake. */
const VOLUME_FAULTS: Partial<Record<Fault, Fault>> = { overLimit: 'forbidden', itemNotFound: 'badRequest' }

/**
 * A failure of the volumes' stores as a create of servers tells it; every other error as it is.
 * @param item what of the request it is about.
 */
export function asComputeVolumeError(error: unknown, item: string): unknown {
  if (!(error instanceof ApiError)) return error
  return new ApiError(VOLUME_FAULTS[error.fault] ?? error.fault, `${item}: ${error.message}`, { cause: error })
}
