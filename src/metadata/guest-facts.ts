import type { Database } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { SecretBox } from '../lib/secret-box.ts'
import { listServerKeypairs } from '../servers/server-keypair-store.ts'

/** What a guest may learn about itself. */
export interface GuestFacts {
  server: Row<'servers'>
  adminPass: string | null
  /** Those that log in, the first attached first. */
  keys: { name: string; type: 'ssh'; data: string }[]
  /** Its cards, first card first. */
  cards: GuestCard[]
  securityGroups: string[]
  /** The address the question came from. */
  ipAddress: string
}

export interface GuestCard {
  portId: string
  macAddress: string
  networkId: string
  mtu: number
  dnsNameservers: string[]
}

/**
 * Who asks: the server whose card has this address on this network. Both come from the socket, and a filter at the
 * card keeps other guests from using the address, so nothing the guest says counts.
 */
export async function findGuest(
  db: Database,
  box: SecretBox,
  networkId: string,
  ipAddress: string,
): Promise<GuestFacts | undefined> {
  const server = await db.read
    .selectFrom('portAddresses')
    .innerJoin('ports', 'ports.id', 'portAddresses.portId')
    .innerJoin('servers', 'servers.id', 'ports.deviceId')
    .selectAll('servers')
    .where('ports.networkId', '=', networkId)
    .where('portAddresses.ipAddress', '=', ipAddress)
    .where('servers.deletedAt', 'is', null)
    .executeTakeFirst()
  if (!server) return undefined
  const rows = await db.read
    .selectFrom('ports')
    .innerJoin('networks', 'networks.id', 'ports.networkId')
    .leftJoin('portAddresses', 'portAddresses.portId', 'ports.id')
    .leftJoin('subnets', 'subnets.id', 'portAddresses.subnetId')
    .select(['ports.id as portId', 'ports.macAddress', 'ports.networkId', 'networks.mtu', 'subnets.dnsNameservers'])
    .where('ports.deviceId', '=', server.id)
    .orderBy('ports.position')
    .orderBy('subnets.ipVersion')
    .execute()
  // One row an address; a card has several where its network has subnets of both versions.
  const cards = [...Map.groupBy(rows, ({ portId }) => portId).values()].flatMap((addresses) => {
    const [card] = addresses
    const servers = addresses.flatMap((one) => JSON.parse(one.dnsNameservers ?? '[]') as string[])
    return card ? [{ ...card, dnsNameservers: [...new Set(servers)] }] : []
  })
  const groups = await db.read
    .selectFrom('portSecurityGroups')
    .innerJoin('ports', 'ports.id', 'portSecurityGroups.portId')
    .innerJoin('securityGroups', 'securityGroups.id', 'portSecurityGroups.securityGroupId')
    .select('securityGroups.name')
    .distinct()
    .where('ports.deviceId', '=', server.id)
    .orderBy('securityGroups.name')
    .execute()
  const keypairs = await listServerKeypairs(db.read, server.id)
  return {
    server,
    keys: keypairs.map(({ name, type, publicKey: data }) => ({ name, type, data })),
    adminPass: server.sealedAdminPass === null ? null : box.open(server.sealedAdminPass),
    cards,
    securityGroups: groups.map((group) => group.name),
    ipAddress,
  }
}
