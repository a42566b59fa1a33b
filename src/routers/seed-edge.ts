/** The way out of a fresh cloud: addresses for its external network, and a router that joins the shared one to it. */

import type { Cloud } from '../cloud.ts'
import type { Tx } from '../db/database.ts'
import { OWNERS } from '../db/device-owners.ts'
import { newId } from '../lib/ids.ts'
import { formatNetwork, parseNetwork } from '../lib/ip.ts'
import { BGP_NETWORK_ID, SHARED_NETWORK_ID } from '../networks/seed-networks.ts'
import { usualGateway, usualPools } from '../networks/subnet-ranges.ts'
import { insertPort } from '../ports/port-store.ts'

/** Remembers that it was done: what an admin deletes afterwards stays deleted. */
const MARK = 'edgeSeeded'

/**
 * Makes `BGP_subnet` and `shared-router`, once in the life of a cloud; one that an earlier version seeded gets them at its
 * next start. Leaves out what somebody's own subnet, router or port stands in the way of.
 */
export async function seedEdge(cloud: Pick<Cloud, 'config' | 'networkChanges'>, tx: Tx, now: number): Promise<void> {
  const { numInsertedOrUpdatedRows } = await tx
    .insertInto('counters')
    .values({ name: MARK, value: 1 })
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirstOrThrow()
  if (numInsertedOrUpdatedRows !== 1n) return
  const bgp = await tx
    .selectFrom('networks')
    .select('projectId')
    .where('id', '=', BGP_NETWORK_ID)
    .where('isExternal', '=', 1)
    .executeTakeFirst()
  if (!bgp) return
  await seedExternalSubnet(tx, bgp.projectId, cloud.config.externalCidr, now)
  await seedRouter(cloud, tx, bgp.projectId, now)
}

async function seedExternalSubnet(tx: Tx, projectId: string, cidr: string, now: number): Promise<void> {
  const existing = await tx
    .selectFrom('subnets')
    .select('id')
    .where('networkId', '=', BGP_NETWORK_ID)
    .executeTakeFirst()
  if (existing) return
  const network = parseNetwork(cidr)
  const gatewayIp = usualGateway(network)
  const pools = usualPools(network, gatewayIp)
  await tx
    .insertInto('subnets')
    .values({
      id: newId(),
      networkId: BGP_NETWORK_ID,
      projectId,
      name: 'BGP_subnet',
      cidr: formatNetwork(network),
      ipVersion: 4,
      gatewayIp,
      hasDhcp: 0,
      dnsNameservers: '[]',
      allocationPools: JSON.stringify(pools),
      hostRoutes: '[]',
      createdAt: now,
      updatedAt: now,
    })
    .execute()
}

async function seedRouter(
  { networkChanges }: Pick<Cloud, 'networkChanges'>,
  tx: Tx,
  projectId: string,
  now: number,
): Promise<void> {
  const shared = await tx
    .selectFrom('subnets')
    .select(['id', 'gatewayIp'])
    .where('networkId', '=', SHARED_NETWORK_ID)
    .where('ipVersion', '=', 4)
    .orderBy('createdAt')
    .executeTakeFirst()
  if (!shared || shared.gatewayIp === null) return
  const taken = await tx
    .selectFrom('portAddresses')
    .select('portId')
    .where('subnetId', '=', shared.id)
    .where('ipAddress', '=', shared.gatewayIp)
    .executeTakeFirst()
  if (taken) return
  const id = newId()
  await tx
    .insertInto('routers')
    .values({
      id,
      projectId,
      name: 'shared-router',
      description: '',
      isUp: 1,
      status: 'ACTIVE',
      externalNetworkId: BGP_NETWORK_ID,
      hasSnat: 1,
      routes: '[]',
      availabilityZoneHints: '[]',
      createdAt: now,
      updatedAt: now,
    })
    .execute()
  const port = { deviceId: id, securityGroupIds: [], now }
  await insertPort(tx, {
    ...port,
    projectId: '',
    networkId: BGP_NETWORK_ID,
    deviceOwner: OWNERS.routerGateway,
  })
  await insertPort(tx, {
    ...port,
    projectId,
    networkId: SHARED_NETWORK_ID,
    deviceOwner: OWNERS.routerInterface,
    fixedIps: [{ subnetId: shared.id, ipAddress: shared.gatewayIp }],
  })
  networkChanges.note(tx, { kind: 'router', id })
}
