import type { Row } from '../db/schema.ts'
import type { Shown } from '../network-api/list-query.ts'
import { standardMembers, uosCreatedAt } from '../network-api/standard-members.ts'

/** A subnet with what its views tell besides its row. */
export interface ShownSubnet extends Row<'subnets'> {
  /** Whose its network is. */
  networkProjectId: string
  /** Whether its network is shared. */
  isShared: 0 | 1
  tags: string[]
}

/** As Neutron shows it. Source: shared/spec/neighbours.md §4. */
export const subnetView = (subnet: ShownSubnet): Shown => ({
  ...standardMembers(subnet),
  ...common(subnet),
  service_types: JSON.parse(subnet.serviceTypes),
  subnetpool_id: null,
})

/** As UOS shows it. Source: shared/spec/uos-network.md §3. */
export const uosSubnetView = (subnet: ShownSubnet, isCreated: boolean): Shown => ({
  id: subnet.id,
  tenant_id: subnet.projectId,
  ...common(subnet),
  shared: subnet.isShared === 1,
  ...uosCreatedAt(subnet, isCreated),
})

const common = (subnet: ShownSubnet) => ({
  name: subnet.name,
  network_id: subnet.networkId,
  ip_version: subnet.ipVersion,
  cidr: subnet.cidr,
  gateway_ip: subnet.gatewayIp,
  allocation_pools: JSON.parse(subnet.allocationPools),
  dns_nameservers: JSON.parse(subnet.dnsNameservers),
  host_routes: JSON.parse(subnet.hostRoutes),
  enable_dhcp: subnet.hasDhcp === 1,
  ipv6_ra_mode: subnet.ipv6RaMode,
  ipv6_address_mode: subnet.ipv6AddressMode,
})
