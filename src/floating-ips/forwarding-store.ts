/** Ports of a floating IP that lead to ports inside, each to one of its own. */
import type { Cloud } from '../cloud.ts'
import type { Reader, Tx } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { newId } from '../lib/ids.ts'
import { networkError } from '../network-api/network-errors.ts'
import { findFixedAddress, findRouterBetween, readTargetPort } from './binding-target.ts'
import { freeUnused, noteRouters, updateFloatingIp } from './floating-ip-store.ts'

type Parts = Pick<Cloud, 'networkChanges'>

export interface ForwardingWish {
  insidePortId: string
  /** Which of the port's addresses; needed when it has several of IPv4. */
  insideAddress?: string | undefined
  insidePort: number
  outsidePort: number
  protocol: 'tcp' | 'udp'
  description: string
}

/** How many a floating IP takes. */
const MOST = 100

/** The forwardings of a floating IP, oldest first. */
export async function listForwardings(read: Reader, floatingIpId: string): Promise<Row<'portForwardings'>[]> {
  return read
    .selectFrom('portForwardings')
    .selectAll()
    .where('floatingIpId', '=', floatingIpId)
    .orderBy('createdAt')
    .orderBy('id')
    .execute()
}

/**
 * Leads a port of a floating IP to one inside; hosts follow after the commit.
 * @throws ApiError as `resolve`; OverQuota.
 */
export async function addForwarding(
  parts: Parts,
  tx: Tx,
  floatingIp: Row<'floatingIps'>,
  wish: ForwardingWish,
  now: number,
): Promise<Row<'portForwardings'>> {
  const others = await holdForwardings(tx, floatingIp, now)
  if (others.length >= MOST) throw networkError('OverQuota', `A floating IP forwards at most ${MOST} ports.`)
  const { routerId, insideAddress } = await resolve(tx, floatingIp, others, wish)
  const forwarding = {
    ...wish,
    ...{ id: newId(), routerId, floatingIpId: floatingIp.id, outsideAddress: floatingIp.floatingIpAddress },
    ...{ insideAddress, createdAt: now },
  }
  await tx.insertInto('portForwardings').values(forwarding).execute()
  await updateFloatingIp(tx, floatingIp.id, { routerId, status: 'ACTIVE' }, now)
  noteRouters(parts, tx, [routerId])
  return forwarding
}

/**
 * Changes one; hosts follow after the commit.
 * @throws ApiError as `resolve`.
 */
export async function changeForwarding(
  parts: Parts,
  tx: Tx,
  floatingIp: Row<'floatingIps'>,
  forwarding: Row<'portForwardings'>,
  change: Partial<ForwardingWish>,
  now: number,
): Promise<Row<'portForwardings'>> {
  const others = (await holdForwardings(tx, floatingIp, now)).filter(({ id }) => id !== forwarding.id)
  const isMoved = change.insidePortId !== undefined && change.insidePortId !== forwarding.insidePortId
  const wish: ForwardingWish = {
    insidePortId: forwarding.insidePortId ?? '',
    // Another port has other addresses.
    insideAddress: isMoved ? undefined : forwarding.insideAddress,
    insidePort: forwarding.insidePort,
    outsidePort: forwarding.outsidePort,
    protocol: forwarding.protocol,
    description: forwarding.description,
    ...change,
  }
  const { routerId, insideAddress } = await resolve(tx, floatingIp, others, wish)
  const changed = { ...wish, routerId, insideAddress }
  await tx.updateTable('portForwardings').set(changed).where('id', '=', forwarding.id).execute()
  noteRouters(parts, tx, [routerId])
  return { ...forwarding, ...changed }
}

/** Ends one; hosts follow after the commit. */
export async function removeForwarding(
  parts: Parts,
  tx: Tx,
  floatingIp: Row<'floatingIps'>,
  forwarding: Row<'portForwardings'>,
  now: number,
): Promise<void> {
  await tx.deleteFrom('portForwardings').where('id', '=', forwarding.id).execute()
  await freeUnused(tx, floatingIp.id, now)
  noteRouters(parts, tx, [forwarding.routerId])
}

/** Of two at once that change a floating IP's forwardings, the second waits here. */
async function holdForwardings(
  tx: Tx,
  { id }: Pick<Row<'floatingIps'>, 'id'>,
  now: number,
): Promise<Row<'portForwardings'>[]> {
  await updateFloatingIp(tx, id, {}, now)
  return listForwardings(tx, id)
}

/**
 * The address and the router that are meant.
 * @throws ApiError FloatingIPPortAlreadyAssociated when all of the floating IP leads to a port; PortNotFound; BadRequest
 * for a bad address or one behind another router; ExternalGatewayForFloatingIPNotFound; PortForwardingExists.
 */
async function resolve(
  tx: Tx,
  { id, projectId, portId, floatingNetworkId }: Row<'floatingIps'>,
  others: readonly Row<'portForwardings'>[],
  wish: ForwardingWish,
): Promise<{ routerId: string; insideAddress: string }> {
  if (portId !== null) {
    throw networkError('FloatingIPPortAlreadyAssociated', `Floating IP ${id} leads to port ${portId} as a whole.`)
  }
  const port = await readTargetPort(tx, projectId, wish.insidePortId)
  const target = await findFixedAddress(tx, port, wish.insideAddress)
  const routerId = await findRouterBetween(tx, projectId, floatingNetworkId, target)
  if (routerId === undefined) {
    throw networkError(
      'ExternalGatewayForFloatingIPNotFound',
      `No router joins subnet ${target.subnetId} and external network ${floatingNetworkId}.`,
    )
  }
  if (others.some((other) => other.routerId !== routerId)) {
    throw networkError('BadRequest', `Floating IP ${id} forwards through another router; it can be on one only.`)
  }
  const { protocol, outsidePort, insidePort } = wish
  const twin = others.find(
    (other) =>
      other.protocol === protocol &&
      (other.outsidePort === outsidePort ||
        (other.insideAddress === target.ipAddress && other.insidePort === insidePort)),
  )
  if (twin) {
    const message = `Port forwarding ${twin.id} has the same ${protocol} port outside, or the same one inside.`
    throw networkError('PortForwardingExists', message)
  }
  return { routerId, insideAddress: target.ipAddress }
}
