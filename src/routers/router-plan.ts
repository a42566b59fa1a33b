/** Rows to plans: what hosts must know of routers. */

import type { Reader } from '../db/database.ts'
import { OWNERS, ROUTER_ENDS } from '../db/device-owners.ts'
import type { Row } from '../db/schema.ts'
import type { RouterPlan, RouterPortPlan } from '../host/host-driver.ts'
import { readNetworkPlan } from '../networks/network-store.ts'

/** A router with its ends, floating IPs and forwardings; undefined when it has no row. */
export async function readRouterPlan(read: Reader, routerId: string): Promise<RouterPlan | undefined> {
  const router = await read.selectFrom('routers').selectAll().where('id', '=', routerId).executeTakeFirst()
  if (!router) return undefined
  const ends = await read
    .selectFrom('ports')
    .selectAll()
    .where('deviceId', '=', routerId)
    .where('deviceOwner', 'in', ROUTER_ENDS)
    .orderBy('createdAt')
    .orderBy('id')
    .execute()
  const [gateway] = ends.filter(({ deviceOwner }) => deviceOwner === OWNERS.routerGateway)
  const interfaces = ends.filter(({ deviceOwner }) => deviceOwner === OWNERS.routerInterface)
  return {
    routerId,
    isUp: router.isUp === 1,
    interfaces: await Promise.all(interfaces.map((port) => readEnd(read, port))),
    gateway: gateway ? { ...(await readEnd(read, gateway)), hasSnat: router.hasSnat === 1 } : null,
    routes: JSON.parse(router.routes),
    floatingIps: await readFloatingIps(read, routerId),
    portForwardings: await readForwardings(read, routerId),
  }
}

async function readEnd(read: Reader, port: Row<'ports'>): Promise<RouterPortPlan> {
  const addresses = await read
    .selectFrom('portAddresses')
    .select(['subnetId', 'ipAddress'])
    .where('portId', '=', port.id)
    .orderBy('ipAddress')
    .execute()
  return {
    portId: port.id,
    macAddress: port.macAddress,
    addresses,
    network: await readNetworkPlan(read, port.networkId),
  }
}

async function readFloatingIps(read: Reader, routerId: string): Promise<RouterPlan['floatingIps']> {
  const rows = await read
    .selectFrom('floatingIps')
    .select(['id', 'floatingIpAddress', 'fixedIpAddress', 'rateLimitKbps'])
    .where('routerId', '=', routerId)
    .orderBy('id')
    .execute()
  return rows.flatMap(({ id, floatingIpAddress, fixedIpAddress, rateLimitKbps }) =>
    fixedIpAddress === null ? [] : [{ floatingIpId: id, ipAddress: floatingIpAddress, fixedIpAddress, rateLimitKbps }],
  )
}

async function readForwardings(read: Reader, routerId: string): Promise<RouterPlan['portForwardings']> {
  const rows = await read
    .selectFrom('portForwardings')
    .select(['outsideAddress', 'outsidePort', 'insideAddress', 'insidePort', 'protocol'])
    .where('routerId', '=', routerId)
    .orderBy('id')
    .execute()
  return rows.map((row) => ({ ...row, outsideAddress: row.outsideAddress || null }))
}
