/** What a guest may learn about itself, read from the database: the same facts for its metadata and its config drive. */
import { readFile } from 'node:fs/promises'
import type { Cloud } from '../cloud.ts'
import type { Reader } from '../db/database.ts'
import type { Ipv6Mode } from '../db/network-schema.ts'
import type { Row } from '../db/schema.ts'
import type { Route } from '../host/host-driver.ts'
import { type BlockDevice, listBlockDevices } from '../servers/block-device-store.ts'
import type { Personality } from '../servers/config-drive.ts'
import { listServerKeypairs } from '../servers/server-keypair-store.ts'

/** What facts are read of. */
export type FactParts = Pick<Cloud, 'config' | 'db' | 'box'>

export interface GuestFacts {
  server: Row<'servers'>
  adminPass: string | null
  /** Those that log in, the first attached first. */
  keys: { name: string; type: 'ssh'; data: string }[]
  /** Its cards, first card first. */
  cards: GuestCard[]
  securityGroups: string[]
  /** Besides the disk of its image, in the order of their names. */
  disks: BlockDevice[]
  /** What whoever made the server wants in its file system. */
  files: { path: string; content: Buffer }[]
  /** What the operator of the cloud has to say to every guest. */
  vendorData: object
}

export interface GuestCard {
  portId: string
  macAddress: string
  networkId: string
  mtu: number
  /** IPv4 first; empty for a card without addresses. */
  addresses: GuestAddress[]
}

export interface GuestAddress {
  ipAddress: string
  ipVersion: 4 | 6
  cidr: string
  gatewayIp: string | null
  /** How the guest gets it: by DHCP, from what routers advertise, or only from what it reads here. */
  source: 'dhcp' | Ipv6Mode | 'static'
  dnsNameservers: string[]
  hostRoutes: Route[]
  /** The address outside that leads to it. */
  floatingIpAddress: string | null
}

/** All facts about a server that is not deleted. @throws Error for vendor data that cannot be read. */
export async function readGuestFacts({ config, db, box }: FactParts, server: Row<'servers'>): Promise<GuestFacts> {
  const { read } = db
  const keypairs = await listServerKeypairs(read, server.id)
  return {
    server,
    adminPass: server.sealedAdminPass === null ? null : box.open(server.sealedAdminPass),
    keys: keypairs.map(({ name, type, publicKey: data }) => ({ name, type, data })),
    cards: await listCards(read, server.id),
    securityGroups: await listGroupNames(read, server.id),
    disks: await listBlockDevices(read, server.id),
    files: filesOf(server),
    vendorData: config.vendorData === '' ? {} : await readVendorData(config.vendorData),
  }
}

const filesOf = ({ personality }: Row<'servers'>): GuestFacts['files'] =>
  (JSON.parse(personality) as Personality).map(({ path, contents }) => ({
    path,
    content: Buffer.from(contents, 'base64'),
  }))

async function listCards(read: Reader, serverId: string): Promise<GuestCard[]> {
  const rows = await read
    .selectFrom('ports')
    .innerJoin('networks', 'networks.id', 'ports.networkId')
    .leftJoin('portAddresses', 'portAddresses.portId', 'ports.id')
    .leftJoin('subnets', 'subnets.id', 'portAddresses.subnetId')
    .leftJoin('floatingIps', (join) =>
      join
        .onRef('floatingIps.portId', '=', 'ports.id')
        .onRef('floatingIps.fixedIpAddress', '=', 'portAddresses.ipAddress'),
    )
    .select(['ports.id as portId', 'ports.macAddress', 'ports.networkId', 'networks.mtu', 'portAddresses.ipAddress'])
    .select(['subnets.ipVersion', 'subnets.cidr', 'subnets.gatewayIp', 'subnets.hasDhcp', 'subnets.dnsNameservers'])
    .select(['subnets.hostRoutes', 'subnets.ipv6AddressMode', 'subnets.ipv6RaMode', 'floatingIps.floatingIpAddress'])
    .where('ports.deviceId', '=', serverId)
    .orderBy('ports.position')
    .orderBy('subnets.ipVersion')
    .orderBy('portAddresses.ipAddress')
    .execute()
  return [...Map.groupBy(rows, ({ portId }) => portId).values()].flatMap((ofPort) => {
    const [first] = ofPort
    if (!first) return []
    const { portId, macAddress, networkId, mtu } = first
    const addresses = ofPort.flatMap((row): GuestAddress[] => {
      const { ipAddress, ipVersion, cidr, gatewayIp, floatingIpAddress } = row
      if (ipAddress === null || ipVersion === null || cidr === null) return []
      return [
        {
          ...{ ipAddress, ipVersion, cidr, gatewayIp, floatingIpAddress },
          source: sourceOf(row),
          dnsNameservers: JSON.parse(row.dnsNameservers ?? '[]'),
          hostRoutes: JSON.parse(row.hostRoutes ?? '[]'),
        },
      ]
    })
    return [{ portId, macAddress, networkId, mtu, addresses }]
  })
}

function sourceOf(subnet: {
  hasDhcp: number | null
  ipVersion: 4 | 6 | null
  ipv6AddressMode: Ipv6Mode | null
  ipv6RaMode: Ipv6Mode | null
}): GuestAddress['source'] {
  if (!subnet.hasDhcp) return 'static'
  if (subnet.ipVersion === 4) return 'dhcp'
  return subnet.ipv6AddressMode ?? subnet.ipv6RaMode ?? 'static'
}

async function listGroupNames(read: Reader, serverId: string): Promise<string[]> {
  const groups = await read
    .selectFrom('portSecurityGroups')
    .innerJoin('ports', 'ports.id', 'portSecurityGroups.portId')
    .innerJoin('securityGroups', 'securityGroups.id', 'portSecurityGroups.securityGroupId')
    .select('securityGroups.name')
    .distinct()
    .where('ports.deviceId', '=', serverId)
    .orderBy('securityGroups.name')
    .execute()
  return groups.map(({ name }) => name)
}

async function readVendorData(path: string): Promise<object> {
  try {
    const data: unknown = JSON.parse(await readFile(path, 'utf8'))
    if (typeof data === 'object' && data !== null && !Array.isArray(data)) return data
    throw new Error('it is no JSON object')
  } catch (cause) {
    throw new Error(`The vendor data in ${path} cannot be read.`, { cause })
  }
}
