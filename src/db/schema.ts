/**
 * One interface a table, the same on SQLite and PostgreSQL. Instants are epoch milliseconds, flags are 0 or 1,
 * and columns that hold JSON say so; what lies outside the database (an address, a disk) is named by ids.
 */
import type { Generated, Selectable } from 'kysely'

/** 0 or 1. */
export type Flag = 0 | 1

/** What the network API tells of everything it has. */
interface StandardAttributes {
  description: Generated<string>
  /** Counts up with each change. */
  revision: Generated<number>
  createdAt: number
  updatedAt: number
}

export interface DomainsTable {
  id: string
  name: string
  isEnabled: Flag
}

export interface ProjectsTable {
  id: string
  domainId: string
  name: string
  description: string
  isEnabled: Flag
}

export interface UsersTable {
  id: string
  domainId: string
  name: string
  passwordHash: string
  defaultProjectId: string | null
  isEnabled: Flag
  createdAt: number
}

export interface RolesTable {
  id: string
  name: string
}

export interface RoleAssignmentsTable {
  userId: string
  projectId: string
  roleId: string
}

export interface TokensTable {
  /** SHA-256 of the token; the token itself is nowhere. */
  hash: string
  userId: string
  projectId: string | null
  /** JSON: the methods it was got by. */
  methods: string
  auditId: string
  /** Audit id of the first token in the chain, when this one was got with another token. */
  parentAuditId: string | null
  issuedAt: number
  expiresAt: number
}

export interface FlavorsTable {
  id: string
  name: string
  vcpus: number
  ramMib: number
  diskGib: number
  ephemeralGib: number
  swapMib: number
  rxtxFactor: number
  isPublic: Flag
  isDisabled: Flag
}

export interface KeypairsTable {
  id: Generated<number>
  userId: string
  name: string
  type: 'ssh'
  publicKey: string
  fingerprint: string
  createdAt: number
}

export interface ImagesTable {
  id: string
  projectId: string | null
  name: string
  status: 'queued' | 'active'
  visibility: 'public' | 'private'
  diskFormat: string
  containerFormat: string
  sizeBytes: number
  virtualSizeBytes: number
  checksum: string
  hashAlgorithm: string
  hashValue: string
  minDiskGib: number
  minRamMib: number
  isProtected: Flag
  /** JSON: list of words. */
  tags: string
  /** JSON: free properties, string to string. */
  properties: string
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

export interface HostsTable {
  name: string
  availabilityZone: string
  isEnabled: Flag
  vcpus: number
  ramMib: number
  diskGib: number
  /** Held by servers placed here; changed only together with a row of `claims`. */
  claimedVcpus: number
  claimedRamMib: number
  claimedDiskGib: number
  bootId: string
  seenAt: number
}

export interface ClaimsTable {
  serverId: string
  hostName: string
  vcpus: number
  ramMib: number
  diskGib: number
}

export type VmState = 'building' | 'active' | 'stopped' | 'paused' | 'suspended' | 'resized' | 'error' | 'deleted'

export type TaskState =
  | 'scheduling'
  | 'networking'
  | 'block_device_mapping'
  | 'spawning'
  | 'powering-on'
  | 'powering-off'
  | 'rebooting'
  | 'reboot_pending'
  | 'reboot_started'
  | 'rebooting_hard'
  | 'reboot_pending_hard'
  | 'reboot_started_hard'
  | 'deleting'

export interface ServersTable {
  id: string
  /** Counts up over the whole cloud; the instance name shows it in hex. */
  number: number
  projectId: string
  userId: string
  reservationId: string
  name: string
  hostName: string | null
  availabilityZone: string
  flavorId: string
  /** The flavor as it was when the server was made; a later change of the offer does not touch it. */
  flavorName: string
  vcpus: number
  ramMib: number
  diskGib: number
  imageId: string
  imageName: string
  keyName: string | null
  publicKey: string | null
  /** Sealed, see lib/secret-box.ts; null once there is no use for it. */
  sealedAdminPass: string | null
  /** JSON: string to string. */
  metadata: string
  /** Base64 as the caller sent it. */
  userData: string | null
  configDrive: string
  diskConfig: 'AUTO' | 'MANUAL'
  accessIpv4: string
  accessIpv6: string
  launchIndex: number
  vmState: VmState
  taskState: TaskState | null
  powerState: 0 | 1 | 3 | 4 | 6 | 7
  progress: number
  isLocked: Flag
  faultCode: number | null
  faultMessage: string | null
  faultDetails: string | null
  faultAt: number | null
  createdAt: number
  updatedAt: number
  launchedAt: number | null
  terminatedAt: number | null
  deletedAt: number | null
}

export interface ActionsTable {
  /** Counts up in the order of acceptance. */
  id: Generated<number>
  name: string
  resourceId: string
  step: string
  isOpen: Flag
  /** JSON: what the caller asked for. */
  input: string
  /** Set once the action failed and only cleans up after itself. */
  failure: string | null
  attempts: number
  acceptedAt: number
  stepEnteredAt: number
  deadlineAt: number
  dueAt: number
  /** Who holds the lease; null when nobody does. */
  leaseToken: string | null
  leaseUntil: number
  requestId: string
  projectId: string
  userId: string
  result: 'Success' | 'Error' | 'Superseded' | null
  finishedAt: number | null
}

export interface ActionEventsTable {
  id: Generated<number>
  actionId: number
  step: string
  startedAt: number
  finishedAt: number
  result: 'Success' | 'Error'
  message: string | null
}

export interface ConsoleTokensTable {
  hash: string
  serverId: string
  type: 'novnc'
  createdAt: number
  expiresAt: number
  usedAt: number | null
}

export interface IdempotentAnswersTable {
  userId: string
  projectId: string
  key: string
  /** SHA-256 of method, path and body: the same key with another request is a mistake. */
  requestHash: string
  status: number
  /** Sealed: answers may hold a password or a private key. */
  sealedBody: string
  createdAt: number
}

export interface CountersTable {
  name: 'servers'
  value: number
}

export interface Schema {
  domains: DomainsTable
  projects: ProjectsTable
  users: UsersTable
  roles: RolesTable
  roleAssignments: RoleAssignmentsTable
  tokens: TokensTable
  flavors: FlavorsTable
  keypairs: KeypairsTable
  images: ImagesTable
  networks: NetworksTable
  subnets: SubnetsTable
  ports: PortsTable
  portAddresses: PortAddressesTable
  securityGroups: SecurityGroupsTable
  securityGroupRules: SecurityGroupRulesTable
  portSecurityGroups: PortSecurityGroupsTable
  routers: RoutersTable
  floatingIps: FloatingIpsTable
  portForwardings: PortForwardingsTable
  tags: TagsTable
  networkQuotas: NetworkQuotasTable
  hosts: HostsTable
  claims: ClaimsTable
  counters: CountersTable
  servers: ServersTable
  actions: ActionsTable
  actionEvents: ActionEventsTable
  consoleTokens: ConsoleTokensTable
  idempotentAnswers: IdempotentAnswersTable
}

export type Row<Table extends keyof Schema> = Selectable<Schema[Table]>
