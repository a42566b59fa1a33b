import type { Fault } from '../http/api-error.ts'
import { retold } from '../network-api/network-errors.ts'

/**
 * What these calls answer otherwise than the network service, and than compute does elsewhere. Source:
 * shared/spec/nova-v21.md §5 and §7, and the behaviour of Nova's proxies.
 */
const FAULTS: Readonly<Record<string, Fault>> = {
  OverQuota: 'forbidden',
  IpAddressGenerationFailure: 'itemNotFound',
  FloatingIPPortAlreadyAssociated: 'badRequest',
  ExternalGatewayForFloatingIPNotFound: 'badRequest',
  Conflict: 'badRequest',
  SecurityGroupInUse: 'badRequest',
  SecurityGroupCannotRemoveDefault: 'badRequest',
  SecurityGroupCannotUpdateDefault: 'badRequest',
  SecurityGroupDefaultAlreadyExists: 'badRequest',
  SecurityGroupRuleExists: 'badRequest',
}

/** Runs `work` of the network service for a caller of compute: its failures come as compute tells them. */
export async function asCompute<T>(work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    throw retold(error, FAULTS)
  }
}
