/** Where a floating IP may lead: an address of a port, and the router that joins the two networks. */

import type { Reader, Tx } from '../db/database.ts'
import { OWNERS } from '../db/device-owners.ts'
import type { Row } from '../db/schema.ts'
import { networkError } from '../network-api/network-errors.ts'

export interface FixedAddress {
  subnetId: string
  ipAddress: string
}

/**
 * The port a floating IP of this project is to lead to, held against others until the transaction ends.
 * @throws ApiError PortNotFound, also for another project's.
 */
export async function readTargetPort(tx: Tx, projectId: string, portId: string): Promise<Row<'ports'>> {
  // A write that changes nothing: of two at once that want the same port, the second waits here.
  await tx.updateTable('ports').set({ id: portId }).where('id', '=', portId).execute()
  const port = await tx.selectFrom('ports').selectAll().where('id', '=', portId).executeTakeFirst()
  if (port && port.projectId === projectId) return port
  throw networkError('PortNotFound', `Port ${portId} could not be found.`)
}

/**
 * The address of a port that is meant.
 * @param wished one of the port's; without it the only one of IPv4.
 * @throws ApiError BadRequest when there is none, or several and none was named.
 */
export async function findFixedAddress(
  read: Reader,
  { id }: Pick<Row<'ports'>, 'id'>,
  wished: string | undefined,
): Promise<FixedAddress> {
  const addresses = await read
    .selectFrom('portAddresses')
    .innerJoin('subnets', 'subnets.id', 'portAddresses.subnetId')
    .select(['portAddresses.subnetId', 'portAddresses.ipAddress'])
    .where('portAddresses.portId', '=', id)
    .where('subnets.ipVersion', '=', 4)
    .orderBy('portAddresses.ipAddress')
    .execute()
  if (wished !== undefined) {
    const found = addresses.find(({ ipAddress }) => ipAddress === wished)
    if (found) return found
    throw networkError('BadRequest', `Port ${id} does not have the IPv4 address ${wished}.`)
  }
  const [only, another] = addresses
  if (!only) throw networkError('BadRequest', `Port ${id} has no IPv4 address that a floating IP could lead to.`)
  if (another) {
    throw networkError('BadRequest', `Port ${id} has several IPv4 addresses; say which with fixed_ip_address.`)
  }
  return only
}

/**
 * The router with a gateway on the external network and an interface on the subnet. Of several the one that guests use,
 * whose interface has the subnet's gateway address. Any other only when it is the project's own: on a shared network
 * others have routers, too, and could lead the traffic where they like.
 */
export async function findRouterBetween(
  read: Reader,
  projectId: string,
  externalNetworkId: string,
  { subnetId }: Pick<FixedAddress, 'subnetId'>,
): Promise<string | undefined> {
  const routers = await read
    .selectFrom('routers')
    .innerJoin('ports', 'ports.deviceId', 'routers.id')
    .innerJoin('portAddresses', 'portAddresses.portId', 'ports.id')
    .innerJoin('subnets', 'subnets.id', 'portAddresses.subnetId')
    .select(['routers.id', 'routers.projectId', 'portAddresses.ipAddress', 'subnets.gatewayIp'])
    .where('routers.externalNetworkId', '=', externalNetworkId)
    .where('ports.deviceOwner', '=', OWNERS.routerInterface)
    .where('portAddresses.subnetId', '=', subnetId)
    .orderBy('routers.createdAt')
    .orderBy('routers.id')
    .execute()
  const usual = routers.find(({ ipAddress, gatewayIp }) => ipAddress === gatewayIp)
  return (usual ?? routers.find((router) => router.projectId === projectId))?.id
}
