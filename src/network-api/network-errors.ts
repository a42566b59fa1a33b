import { ApiError, type Fault } from '../http/api-error.ts'

/** Neutron's names of failures and what they are answered with. Source: shared/spec/faults.md §7, neighbours.md §4. */
const TYPES = {
  HTTPBadRequest: 'badRequest',
  BadRequest: 'badRequest',
  InvalidInput: 'badRequest',
  InvalidAllocationPool: 'badRequest',
  OutOfBoundsAllocationPool: 'conflictingRequest',
  OverlappingAllocationPools: 'conflictingRequest',
  GatewayConflictWithAllocationPools: 'conflictingRequest',
  InvalidIpForSubnet: 'badRequest',
  InvalidIpForNetwork: 'badRequest',
  PortSecurityAndIPRequiredForSecurityGroups: 'badRequest',
  SecurityGroupProtocolRequiredWithPorts: 'badRequest',
  SecurityGroupInvalidPortRange: 'badRequest',
  SecurityGroupInvalidPortValue: 'badRequest',
  SecurityGroupInvalidIcmpValue: 'badRequest',
  SecurityGroupMissingIcmpType: 'badRequest',
  SecurityGroupInvalidProtocolForPort: 'badRequest',
  SecurityGroupRuleInvalidProtocol: 'badRequest',
  SecurityGroupEthertypeConflictWithProtocol: 'badRequest',
  SecurityGroupRemoteGroupAndRemoteIpPrefix: 'badRequest',
  SecurityGroupRuleParameterConflict: 'badRequest',
  InvalidRoutes: 'badRequest',
  RoutesExhausted: 'badRequest',
  PolicyNotAuthorized: 'forbidden',
  NetworkNotFound: 'itemNotFound',
  SubnetNotFound: 'itemNotFound',
  PortNotFound: 'itemNotFound',
  RouterNotFound: 'itemNotFound',
  RouterInterfaceNotFound: 'itemNotFound',
  RouterInterfaceNotFoundForSubnet: 'itemNotFound',
  FloatingIPNotFound: 'itemNotFound',
  SecurityGroupNotFound: 'itemNotFound',
  SecurityGroupRuleNotFound: 'itemNotFound',
  ExternalGatewayForFloatingIPNotFound: 'itemNotFound',
  PortForwardingNotFound: 'itemNotFound',
  ExtensionNotFound: 'itemNotFound',
  AvailabilityZoneNotFound: 'itemNotFound',
  TagNotFound: 'itemNotFound',
  NetworkInUse: 'conflictingRequest',
  InvalidSharedSetting: 'conflictingRequest',
  ExternalNetworkInUse: 'conflictingRequest',
  SubnetInUse: 'conflictingRequest',
  PortInUse: 'conflictingRequest',
  AddressPairAndPortSecurityRequired: 'conflictingRequest',
  PortSecurityPortHasSecurityGroup: 'conflictingRequest',
  ServicePortInUse: 'conflictingRequest',
  RouterInUse: 'conflictingRequest',
  RouterInterfaceInUseByFloatingIP: 'conflictingRequest',
  RouterInterfaceInUseByRoute: 'conflictingRequest',
  RouterExternalGatewayInUseByFloatingIp: 'conflictingRequest',
  SecurityGroupInUse: 'conflictingRequest',
  SecurityGroupCannotRemoveDefault: 'conflictingRequest',
  SecurityGroupCannotUpdateDefault: 'conflictingRequest',
  SecurityGroupDefaultAlreadyExists: 'conflictingRequest',
  SecurityGroupRuleExists: 'conflictingRequest',
  FloatingIPPortAlreadyAssociated: 'conflictingRequest',
  PortForwardingExists: 'conflictingRequest',
  OverQuota: 'conflictingRequest',
  IpAddressGenerationFailure: 'conflictingRequest',
  IpAddressInUse: 'conflictingRequest',
  GatewayIpInUse: 'conflictingRequest',
  IpAddressAlreadyAllocated: 'conflictingRequest',
  MacAddressInUse: 'conflictingRequest',
  RevisionNumberConstraintFailed: 'conflictingRequest',
  Conflict: 'conflictingRequest',
} as const satisfies Record<string, Fault>

export type NetworkErrorType = keyof typeof TYPES

/** A failure of the network service, with the name by which clients know it. */
export const networkError = (type: NetworkErrorType, message: string, options: ErrorOptions = {}): ApiError =>
  new ApiError(TYPES[type], message, { ...options, type })

/**
 * A failure of the network's stores as another service tells it; every other error as it is.
 * @param faults by the name the network service gives it; one that is not there stays.
 */
export function retold(error: unknown, faults: Readonly<Partial<Record<string, Fault>>>): unknown {
  const fault = error instanceof ApiError && error.type !== undefined ? faults[error.type] : undefined
  return fault === undefined ? error : new ApiError(fault, (error as ApiError).message, { cause: error })
}
