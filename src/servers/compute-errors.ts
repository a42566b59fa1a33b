import type { Fault } from '../http/api-error.ts'
import { retold } from '../network-api/network-errors.ts'

/** What the compute service answers otherwise than the network service. Source: shared/spec/faults.md, section 2. */
const FAULTS: Readonly<Record<string, Fault>> = { OverQuota: 'forbidden', IpAddressGenerationFailure: 'badRequest' }

/** A failure of the network's stores as compute tells it; every other error as it is. */
export const asComputeError = (error: unknown): unknown => retold(error, FAULTS)
