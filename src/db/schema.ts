/**
 * One interface a table, the same on SQLite and PostgreSQL. Instants are epoch milliseconds, flags are 0 or 1,
 * and columns that hold JSON say so; what lies outside the database (an address, a disk) is named by ids.
 */
import type { Generated, Selectable } from 'kysely'
import type { Flag } from './flag.ts'
import type {
  FloatingIpsTable,
  NetworkQuotasTable,
  NetworksTable,
  PortAddressesTable,
  PortForwardingsTable,
  PortSecurityGroupsTable,
  PortsTable,
  RoutersTable,
  SecurityGroupRulesTable,
  SecurityGroupsTable,
  SubnetsTable,
  TagsTable,
} from './network-schema.ts'
import type {
  BlockDevicesTable,
  ImageMembersTable,
  ImagesTable,
  VolumeQuotasTable,
  VolumeSnapshotsTable,
  VolumesTable,
  VolumeTransfersTable,
  VolumeTypeAccessTable,
  VolumeTypesTable,
} from './volume-schema.ts'

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
  | 'image_snapshot'
  | 'image_snapshot_pending'
  | 'image_pending_upload'
  | 'image_uploading'
  | 'image_backup'
  | 'updating_password'

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
  /** '' when it boots from a volume. */
  imageId: string
  imageName: string
  /** JSON: the image's free properties as they were when the server was made, string to string. */
  imageProperties: Generated<string>
  /** Of the first of its keypairs that are still attached. */
  keyName: string | null
  /** Sealed, see lib/secret-box.ts; null once there is no use for it. */
  sealedAdminPass: string | null
  /** What the guest posted as its password, encrypted by itself; null until it did, and when its user cleared it. */
  guestPassword: Generated<string | null>
  /** JSON: the changes of keys that the guest is still to be told of; null: none. */
  untoldKeys: Generated<string | null>
  /** JSON: string to string. */
  metadata: string
  /** Base64 as the caller sent it. */
  userData: string | null
  /** `True` or ''. */
  configDrive: string
  /** JSON: list of {path, contents}: files it brings, contents in base64. */
  personality: Generated<string>
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

export interface ServerKeypairsTable {
  serverId: string
  /** Once a server. */
  name: string
  /** Counts up in the order of attaching, with gaps. */
  position: number
  type: 'ssh'
  /** As it was when it was attached: the keypair itself may be gone, or be another one under its name. */
  publicKey: string
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
  /** What of it is secret, sealed (lib/secret-box.ts); null from the moment the action is closed. */
  sealedSecret: Generated<string | null>
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
  type: 'novnc' | 'serial'
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
  name: 'servers' | 'edgeSeeded'
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
  imageMembers: ImageMembersTable
  volumeTypes: VolumeTypesTable
  volumeTypeAccess: VolumeTypeAccessTable
  volumes: VolumesTable
  volumeSnapshots: VolumeSnapshotsTable
  volumeTransfers: VolumeTransfersTable
  volumeQuotas: VolumeQuotasTable
  blockDevices: BlockDevicesTable
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
  serverKeypairs: ServerKeypairsTable
  actions: ActionsTable
  actionEvents: ActionEventsTable
  consoleTokens: ConsoleTokensTable
  idempotentAnswers: IdempotentAnswersTable
}

export type Row<Table extends keyof Schema> = Selectable<Schema[Table]>
