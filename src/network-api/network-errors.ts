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
  TagNotFound: 'itemNotFound',
  NetworkInUse: 'conflictingRequest',
  SubnetInUse: 'conflictingRequest',
  PortInUse: 'conflictingRequest',
  ServicePortInUse: 'conflictingRequest',
  RouterInUse: 'conflictingRequest',
  RouterInterfaceInUseByFloatingIP: 'conflictingRequest',
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
  IpAddressAlreadyAllocated: 'conflictingRequest',
  MacAddressInUse: 'conflictingRequest',
  RevisionNumberConstraintFailed: 'conflictingRequest',
  Conflict: 'conflictingRequest',
} as const satisfies Record<string, Fault>

export type NetworkErrorType = keyof typeof TYPES

/** A failure of the network service, with the name by which clients know it. */
export const networkError = (type: NetworkErrorType, message: string, options: ErrorOptions = {}): ApiError =>
  new ApiError(TYPES[type], message, { ...options, type })
