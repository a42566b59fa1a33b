/** The tables of networks, their ports and filters, and of routers; see schema.ts for what columns hold. */
import type { Generated } from 'kysely'
import type { Flag } from './flag.ts'

/** What the network API tells of everything it has. */
interface StandardAttributes {
  description: Generated<string>
  /** Counts up with each change. */
  revision: Generated<number>
  createdAt: number
  updatedAt: number
}

export interface NetworksTable extends StandardAttributes {
  id: string
  projectId: string
  name: string
  isShared: Flag
  isExternal: Flag
  isUp: Flag
  /** Bytes. */
  mtu: number
  /** UOS: the tenant runs its own DHCP and routing on it. */
  isUnmanaged: Generated<Flag>
  /** Whether ports made on it are filtered unless they say otherwise. */
  hasPortSecurity: Generated<Flag>
  isDefault: Generated<Flag>
  /** UOS: Mbit/s, told and not enforced. */
  rateLimitMbps: Generated<number>
  /** JSON: list of names. */
  availabilityZoneHints: Generated<string>
}

export interface SubnetsTable extends StandardAttributes {
  id: string
  networkId: string
  projectId: string
  name: string
  cidr: string
  ipVersion: 4 | 6
  gatewayIp: string | null
  hasDhcp: Flag
  /** JSON: list of addresses. */
  dnsNameservers: string
  /** JSON: list of {start, end}. */
  allocationPools: string
  /** JSON: list of {destination, nexthop}. */
  hostRoutes: string
  ipv6RaMode: Generated<Ipv6Mode | null>
  ipv6AddressMode: Generated<Ipv6Mode | null>
  /** JSON: list of device owners. */
  serviceTypes: Generated<string>
}

export type Ipv6Mode = 'slaac' | 'dhcpv6-stateless' | 'dhcpv6-stateful'

export interface PortsTable extends StandardAttributes {
  id: string
  networkId: string
  projectId: string
  name: string
  macAddress: string
  /** The server, or '' when unused. */
  deviceId: string
  deviceOwner: string
  /** Position among the cards of its server. */
  position: number
  status: 'ACTIVE' | 'DOWN' | 'BUILD'
  isUp: Flag
  hasAntiSpoofing: Flag
  /** Made for a server by the service, and so deleted with it. */
  isOwnedByServer: Flag
  /** Off: no anti-spoofing and no security groups. */
  hasPortSecurity: Generated<Flag>
  /** JSON: list of {ip_address, mac_address}: what it may send from besides its own, as the API shows it. */
  allowedAddressPairs: Generated<string>
  /** JSON: list of {opt_name, opt_value, ip_version}, as the API shows it. */
  extraDhcpOptions: Generated<string>
  vnicType: Generated<string>
  bindingHost: Generated<string>
  /** JSON: object, as the caller sent it. */
  bindingProfile: Generated<string>
  dnsName: Generated<string>
}

export interface PortAddressesTable {
  subnetId: string
  ipAddress: string
  portId: string
}

export interface SecurityGroupsTable extends StandardAttributes {
  id: string
  projectId: string
  name: string
  isStateful: Generated<Flag>
}

export interface SecurityGroupRulesTable extends StandardAttributes {
  id: string
  securityGroupId: string
  direction: 'ingress' | 'egress'
  ethertype: 'IPv4' | 'IPv6'
  protocol: string | null
  portRangeMin: number | null
  portRangeMax: number | null
  remoteIpPrefix: string | null
  /** Allows the members of this group instead of a prefix. */
  remoteGroupId: Generated<string | null>
}

export interface PortSecurityGroupsTable {
  portId: string
  securityGroupId: string
}

/** Its interfaces are ports with its id as device: owner `network:router_interface` or `network:router_gateway`. */
export interface RoutersTable extends StandardAttributes {
  id: string
  projectId: string
  name: string
  isUp: Flag
  status: 'ACTIVE' | 'DOWN' | 'ERROR'
  externalNetworkId: string | null
  hasSnat: Flag
  /** JSON: list of {destination, nexthop}. */
  routes: string
  /** JSON: list of names. */
  availabilityZoneHints: string
}

export interface FloatingIpsTable extends StandardAttributes {
  id: string
  projectId: string
  name: string
  floatingNetworkId: string
  /** The port on the external network that holds the address; owner `network:floatingip`. */
  floatingPortId: string
  floatingIpAddress: string
  /** The port it leads to, that port's address, and the router in between: all null while unbound. */
  portId: string | null
  fixedIpAddress: string | null
  routerId: string | null
  status: 'ACTIVE' | 'DOWN' | 'ERROR'
  rateLimitKbps: number
  registerno: string
  serviceProvider: string
  dnsName: string
}

export interface PortForwardingsTable {
  id: string
  routerId: string
  /** The floating IP it belongs to; null for one of the router's own gateway address (UOS). */
  floatingIpId: string | null
  /** The floating IP's address; '' for the router's gateway address, which may change. */
  outsideAddress: string
  outsidePort: number
  insidePortId: string | null
  insideAddress: string
  insidePort: number
  protocol: 'tcp' | 'udp'
  description: string
  createdAt: number
}

export interface TagsTable {
  resourceId: string
  tag: string
}

export interface NetworkQuotasTable {
  projectId: string
  /** As Neutron names it: `network`, `floatingip`, `security_group_rule`, … */
  resource: string
  /** -1: no limit. */
  most: number
}
