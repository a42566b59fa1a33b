import { ApiError, type Fault } from '../http/api-error.ts'

/** What the compute service answers otherwise than the network service. Source: shared/spec/faults.md, section 2. */
const FAULTS: Record<string, Fault> = { OverQuota: 'forbidden', IpAddressGenerationFailure: 'badRequest' }

/** A failure of the network's stores as compute tells it; every other error as it is. */
export function asComputeError(error: unknown): unknown {
  const fault = error instanceof ApiError && error.type !== undefined ? FAULTS[error.type] : undefined
  return fault === undefined ? error : new ApiError(fault, (error as ApiError).message, { cause: error })
}
