import type { Row } from '../db/schema.ts'
import type { Caller } from '../http/policy.ts'
import type { Shown } from '../network-api/list-query.ts'
import { standardMembers, uosCreatedAt } from '../network-api/standard-members.ts'

/** A network with what its views tell besides its row. */
export interface ShownNetwork extends Row<'networks'> {
  subnetIds: string[]
  tags: string[]
  availabilityZones: string[]
}

/** As Neutron shows it. Source: shared/spec/neighbours.md §4. */
export function networkView(network: ShownNetwork, caller: Pick<Caller, 'isAdmin'>): Shown {
  return {
    ...standardMembers(network),
    name: network.name,
    status: 'ACTIVE',
    subnets: network.subnetIds,
    admin_state_up: network.isUp === 1,
    shared: network.isShared === 1,
    'router:external': network.isExternal === 1,
    is_default: network.isDefault === 1,
    mtu: network.mtu,
    port_security_enabled: network.hasPortSecurity === 1,
    availability_zones: network.availabilityZones,
    availability_zone_hints: JSON.parse(network.availabilityZoneHints),
    ipv4_address_scope: null,
    ipv6_address_scope: null,
    qos_policy_id: null,
    ...(caller.isAdmin
      ? {
          'provider:network_type': 'local',
          'provider:physical_network': null,
          'provider:segmentation_id': null,
        }
      : {}),
  }
}

/** As UOS shows it. Source: shared/spec/uos-network.md §3. */
export function uosNetworkView(network: ShownNetwork, isCreated: boolean): Shown {
  return {
    id: network.id,
    name: network.name,
    status: 'ACTIVE',
    admin_state_up: network.isUp === 1,
    subnets: network.subnetIds,
    shared: network.isShared === 1,
    tenant_id: network.projectId,
    'provider:unmanaged_network': network.isUnmanaged === 1,
    ...(isCreated ? {} : { 'router:external': network.isExternal === 1, 'uos:rate_limit': network.rateLimitMbps }),
    ...uosCreatedAt(network, isCreated),
  }
}
