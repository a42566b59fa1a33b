import { sql } from 'kysely'
import type { Reader, Tx } from '../db/database.ts'
import { OWNERS } from '../db/device-owners.ts'
import type { Row } from '../db/schema.ts'
import type { NetworkPlan } from '../host/host-driver.ts'
import type { Caller } from '../http/policy.ts'
import { networkError } from '../network-api/network-errors.ts'

/** What IPv6 needs of a network (RFC 8200). Bytes. */
export const LEAST_MTU_6 = 1_280

/** A network the project may put servers on: its own, or a shared one. Undefined for any other. */
export async function findUsableNetwork(
  read: Reader,
  projectId: string,
  id: string,
): Promise<Row<'networks'> | undefined> {
  return usable(read, projectId).where('id', '=', id).executeTakeFirst()
}

/** All networks the project may put servers on, oldest first. */
export async function listUsableNetworks(read: Reader, projectId: string): Promise<Row<'networks'>[]> {
  return usable(read, projectId).orderBy('createdAt').orderBy('id').execute()
}

function usable(read: Reader, projectId: string) {
  return read
    .selectFrom('networks')
    .selectAll()
    .where('isExternal', '=', 0)
    .where((where) => where.or([where('projectId', '=', projectId), where('isShared', '=', 1)]))
}

/** A network the caller may know of: its own, a shared or an external one; any for an admin. */
export async function findVisibleNetwork(
  read: Reader,
  { projectId, isAdmin }: Pick<Caller, 'projectId' | 'isAdmin'>,
  id: string,
): Promise<Row<'networks'> | undefined> {
  const network = await read.selectFrom('networks').selectAll().where('id', '=', id).executeTakeFirst()
  if (!network || isAdmin || network.projectId === projectId) return network
  return network.isShared || network.isExternal ? network : undefined
}

/**
 * Writes that a network was changed. Whoever does so has it for itself until its transaction ends.
 * @throws ApiError NetworkNotFound when it was deleted meanwhile.
 */
export async function touchNetwork(tx: Tx, id: string, now: number): Promise<Row<'networks'>> {
  const network = await tx
    .updateTable('networks')
    .set({ revision: sql<number>`revision + 1`, updatedAt: now })
    .where('id', '=', id)
    .returningAll()
    .executeTakeFirst()
  if (!network) throw networkError('NetworkNotFound', `Network ${id} could not be found.`)
  return network
}

/** Subnets of a network, oldest first. */
export async function listSubnets(read: Reader, networkId: string): Promise<Row<'subnets'>[]> {
  return read
    .selectFrom('subnets')
    .selectAll()
    .where('networkId', '=', networkId)
    .orderBy('createdAt')
    .orderBy('id')
    .execute()
}

/** What a host must know of a network. */
export async function readNetworkPlan(read: Reader, networkId: string): Promise<NetworkPlan> {
  const network = await read.selectFrom('networks').selectAll().where('id', '=', networkId).executeTakeFirstOrThrow()
  const services = await read
    .selectFrom('portAddresses')
    .innerJoin('ports', 'ports.id', 'portAddresses.portId')
    .select(['portAddresses.subnetId', 'portAddresses.ipAddress'])
    .where('ports.networkId', '=', networkId)
    .where('ports.deviceOwner', '=', OWNERS.dhcp)
    .execute()
  const subnets = await listSubnets(read, networkId)
  return {
    networkId,
    mtu: network.mtu,
    isUp: network.isUp === 1,
    isExternal: network.isExternal === 1,
    subnets: subnets.map((subnet) => ({
      subnetId: subnet.id,
      cidr: subnet.cidr,
      ipVersion: subnet.ipVersion,
      gatewayIp: subnet.gatewayIp,
      dhcpAddress: subnet.hasDhcp
        ? (services.find((service) => service.subnetId === subnet.id)?.ipAddress ?? null)
        : null,
      dnsNameservers: JSON.parse(subnet.dnsNameservers),
      hostRoutes: JSON.parse(subnet.hostRoutes),
      ipv6Mode: subnet.ipv6AddressMode ?? subnet.ipv6RaMode,
    })),
  }
}
