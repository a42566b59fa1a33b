/** How a router joins networks and leaves them. */

import type { Cloud } from '../cloud.ts'
import type { Tx } from '../db/database.ts'
import { OWNERS } from '../db/device-owners.ts'
import type { Row } from '../db/schema.ts'
import type { Caller } from '../http/policy.ts'
import { contains, parseAddress, parseNetwork } from '../lib/ip.ts'
import { networkError } from '../network-api/network-errors.ts'
import { deletePorts } from '../ports/delete-ports.ts'
import { insertPort } from '../ports/port-store.ts'
import { findUnreachable } from './extra-routes.ts'
import { assertNoOverlap, holdRouter, type RouterEnd, routesOf } from './router-store.ts'

type Parts = Pick<Cloud, 'networkChanges' | 'clock'>

/** Which interface: one of the two when adding; when removing, both must agree. */
export interface InterfaceWish {
  subnetId?: string | undefined
  portId?: string | undefined
}

/** An interface that was added or removed. */
export interface RouterInterface {
  portId: string
  networkId: string
  subnetIds: string[]
}

/**
 * Joins a subnet by its gateway address, or takes a port that the caller made for it; hosts follow after the commit.
 * @throws ApiError BadRequest for a bad wish, a subnet without gateway or not the project's, one that is there already or
 * overlaps; SubnetNotFound, PortNotFound; PortInUse; IpAddressAlreadyAllocated when somebody has the gateway address.
 */
export async function addInterface(
  parts: Parts,
  tx: Tx,
  caller: Pick<Caller, 'projectId' | 'isAdmin'>,
  routerId: string,
  wish: InterfaceWish,
): Promise<RouterInterface> {
  const { router, ends } = await holdRouter(tx, routerId, parts.clock.now())
  if (wish.subnetId !== undefined && wish.portId !== undefined) {
    throw networkError('BadRequest', 'Only one of subnet_id and port_id may be given.')
  }
  const added =
    wish.portId !== undefined
      ? await takePort(parts, tx, caller, router, ends, wish.portId)
      : await joinSubnet(parts, tx, caller, router, ends, wish.subnetId)
  parts.networkChanges.note(tx, { kind: 'router', id: routerId })
  return added
}

/**
 * Leaves a subnet; the port of the interface goes, whoever made it.
 * @throws ApiError BadRequest when nothing is named; SubnetNotFound; RouterInterfaceNotFound,
 * RouterInterfaceNotFoundForSubnet; RouterInterfaceInUseByFloatingIP, RouterInterfaceInUseByRoute.
 */
export async function removeInterface(
  parts: Parts,
  tx: Tx,
  routerId: string,
  wish: InterfaceWish,
): Promise<RouterInterface> {
  const { router, ends } = await holdRouter(tx, routerId, parts.clock.now())
  const end = findInterface(router, ends, wish)
  const rest = ends.filter((one) => one !== end).flatMap(({ addresses }) => addresses)
  const route = findUnreachable(routesOf(router), rest)
  if (route) {
    const message = `The interface of router ${routerId} is needed by its route to ${route.destination}.`
    throw networkError('RouterInterfaceInUseByRoute', message)
  }
  await assertLeadsNowhere(tx, router, end)
  await deletePorts(parts, tx, [end.portId])
  parts.networkChanges.note(tx, { kind: 'router', id: routerId })
  return asInterface(end.portId, end.networkId, end.addresses)
}

async function joinSubnet(
  { clock }: Parts,
  tx: Tx,
  caller: Pick<Caller, 'projectId' | 'isAdmin'>,
  router: Row<'routers'>,
  ends: readonly RouterEnd[],
  subnetId: string | undefined,
): Promise<RouterInterface> {
  if (subnetId === undefined) throw networkError('BadRequest', 'One of subnet_id and port_id must be given.')
  const subnet = await readSubnet(tx, caller, subnetId)
  if (subnet.gatewayIp === null) throw networkError('BadRequest', `Subnet ${subnetId} has no gateway_ip for a router.`)
  if (!caller.isAdmin && subnet.networkProjectId !== caller.projectId) {
    // Its gateway address is its owner's to give; a port in its pool will do.
    const message = `Subnet ${subnetId} is another project's; make a port on it and add that.`
    throw networkError('BadRequest', message)
  }
  assertInternal(subnet.networkId, subnet.isExternal)
  assertNoOverlap(ends, [subnet])
  const portId = await insertPort(tx, {
    projectId: router.projectId,
    networkId: subnet.networkId,
    deviceId: router.id,
    deviceOwner: OWNERS.routerInterface,
    fixedIps: [{ subnetId, ipAddress: subnet.gatewayIp }],
    securityGroupIds: [],
    now: clock.now(),
  })
  return asInterface(portId, subnet.networkId, [{ subnetId }])
}

async function takePort(
  { clock }: Parts,
  tx: Tx,
  caller: Pick<Caller, 'projectId' | 'isAdmin'>,
  router: Row<'routers'>,
  ends: readonly RouterEnd[],
  portId: string,
): Promise<RouterInterface> {
  const port = await tx
    .selectFrom('ports')
    .innerJoin('networks', 'networks.id', 'ports.networkId')
    .select(['ports.networkId', 'ports.projectId', 'networks.isExternal'])
    .where('ports.id', '=', portId)
    .executeTakeFirst()
  if (!port || (port.projectId !== caller.projectId && !caller.isAdmin)) {
    throw networkError('PortNotFound', `Port ${portId} could not be found.`)
  }
  assertInternal(port.networkId, port.isExternal)
  const { numUpdatedRows } = await tx
    .updateTable('ports')
    .set((eb) => ({
      deviceId: router.id,
      deviceOwner: OWNERS.routerInterface,
      revision: eb('revision', '+', 1),
      updatedAt: clock.now(),
    }))
    .where('id', '=', portId)
    .where('deviceId', '=', '')
    .executeTakeFirstOrThrow()
  if (numUpdatedRows !== 1n) throw networkError('PortInUse', `Port ${portId} is in use already.`)
  const subnets = await tx
    .selectFrom('portAddresses')
    .innerJoin('subnets', 'subnets.id', 'portAddresses.subnetId')
    .select(['subnets.id', 'subnets.cidr', 'subnets.ipVersion'])
    .where('portAddresses.portId', '=', portId)
    .orderBy('subnets.createdAt')
    .execute()
  if (subnets.length === 0) throw networkError('BadRequest', `Port ${portId} has no address for a router.`)
  if (subnets.filter(({ ipVersion }) => ipVersion === 4).length > 1) {
    throw networkError('BadRequest', `Port ${portId} has several IPv4 addresses; a router takes one.`)
  }
  assertNoOverlap(ends, subnets)
  return asInterface(
    portId,
    port.networkId,
    subnets.map(({ id }) => ({ subnetId: id })),
  )
}

function findInterface(
  router: Row<'routers'>,
  ends: readonly RouterEnd[],
  { portId, subnetId }: InterfaceWish,
): RouterEnd {
  if (portId === undefined && subnetId === undefined) {
    throw networkError('BadRequest', 'One of subnet_id and port_id must be given.')
  }
  const interfaces = ends.filter(({ isGateway }) => !isGateway)
  const isOn = (end: RouterEnd) => end.addresses.some((address) => address.subnetId === subnetId)
  if (portId !== undefined) {
    const end = interfaces.find((one) => one.portId === portId)
    if (!end) {
      const message = `Router ${router.id} does not have an interface with id ${portId}.`
      throw networkError('RouterInterfaceNotFound', message)
    }
    if (subnetId === undefined || isOn(end)) return end
    throw networkError('BadRequest', `Port ${portId} of router ${router.id} is not on subnet ${subnetId}.`)
  }
  const end = interfaces.find(isOn)
  if (end) return end
  const message = `Router ${router.id} has no interface on subnet ${subnetId}.`
  throw networkError('RouterInterfaceNotFoundForSubnet', message)
}

/** Nothing that comes from outside may lead to a subnet that the router leaves. */
async function assertLeadsNowhere(tx: Tx, { id }: Row<'routers'>, { addresses }: RouterEnd): Promise<void> {
  const isThere = (ipAddress: string) =>
    addresses.some(({ cidr }) => contains(parseNetwork(cidr), parseAddress(ipAddress)))
  const floatingIps = await tx
    .selectFrom('floatingIps')
    .select(['floatingIpAddress', 'fixedIpAddress'])
    .where('routerId', '=', id)
    .execute()
  const bound = floatingIps.find(({ fixedIpAddress }) => fixedIpAddress !== null && isThere(fixedIpAddress))
  const forwardings = await tx
    .selectFrom('portForwardings')
    .select('insideAddress')
    .where('routerId', '=', id)
    .execute()
  const forwarded = forwardings.find(({ insideAddress }) => isThere(insideAddress))
  if (!bound && !forwarded) return
  throw networkError(
    'RouterInterfaceInUseByFloatingIP',
    bound
      ? `The interface of router ${id} is needed by floating IP ${bound.floatingIpAddress}.`
      : `The interface of router ${id} is needed by a port forwarding to ${forwarded?.insideAddress}.`,
  )
}

async function readSubnet(tx: Tx, caller: Pick<Caller, 'projectId' | 'isAdmin'>, id: string) {
  const subnet = await tx
    .selectFrom('subnets')
    .innerJoin('networks', 'networks.id', 'subnets.networkId')
    .select(['subnets.id', 'subnets.cidr', 'subnets.gatewayIp', 'subnets.networkId'])
    .select(['networks.projectId as networkProjectId', 'networks.isShared', 'networks.isExternal'])
    .where('subnets.id', '=', id)
    .executeTakeFirst()
  if (subnet && (subnet.isShared || subnet.networkProjectId === caller.projectId || caller.isAdmin)) return subnet
  throw networkError('SubnetNotFound', `Subnet ${id} could not be found.`)
}

function assertInternal(networkId: string, isExternal: 0 | 1): void {
  if (!isExternal) return
  throw networkError('BadRequest', `Network ${networkId} is external; a router is on it by its gateway.`)
}

const asInterface = (
  portId: string,
  networkId: string,
  addresses: readonly { subnetId: string }[],
): RouterInterface => ({ portId, networkId, subnetIds: addresses.map(({ subnetId }) => subnetId) })
