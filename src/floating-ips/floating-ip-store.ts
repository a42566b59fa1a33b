import type { Cloud } from '../cloud.ts'
import type { Reader, Tx } from '../db/database.ts'
import { OWNERS } from '../db/device-owners.ts'
import type { Row } from '../db/schema.ts'
import { newId } from '../lib/ids.ts'
import { networkError } from '../network-api/network-errors.ts'
import { assertNetworkQuota } from '../network-api/network-quotas.ts'
import { insertPort } from '../ports/port-store.ts'
import { findFixedAddress, findRouterBetween, readTargetPort } from './binding-target.ts'

/** What a floating IP lets through unless it says otherwise, each way; the unit UOS sells. Kbit/s. */
export const RATE_LIMIT_KBPS = 1_024

type Parts = Pick<Cloud, 'networkChanges'>

export interface NewFloatingIp {
  projectId: string
  /** The external network. */
  networkId: string
  name?: string | undefined
  description?: string | undefined
  /** Default RATE_LIMIT_KBPS. */
  rateLimitKbps?: number | undefined
  /** Where its address must be from, and the address itself; any free one of IPv4 without. */
  subnetId?: string | undefined
  ipAddress?: string | undefined
  registerno?: string | undefined
  serviceProvider?: string | undefined
  dnsName?: string | undefined
  /** Epoch milliseconds. */
  now: number
}

/** What a floating IP is to lead to. */
export interface BindingWish {
  portId: string
  /** Which of the port's addresses; needed when it has several of IPv4. */
  fixedIpAddress?: string | undefined
  now: number
}

/**
 * Gives the project an address of an external network, held by a port there.
 * @returns the id.
 * @throws ApiError NetworkNotFound; BadRequest when the network is not external or has no IPv4 subnet; OverQuota;
 * IpAddressGenerationFailure when no address is free; as `insertPort` for a wished address.
 */
export async function createFloatingIp(tx: Tx, wish: NewFloatingIp): Promise<string> {
  const { projectId, networkId, now } = wish
  await assertExternal(tx, projectId, networkId)
  await assertNetworkQuota(tx, projectId, 'floatingip')
  const id = newId()
  const floatingPortId = await insertPort(tx, {
    // Nobody's, so that projects do not see it among theirs.
    projectId: '',
    networkId,
    deviceId: id,
    deviceOwner: OWNERS.floatingIp,
    // Without any wish it would get an address of IPv6 as well.
    fixedIps: [{ subnetId: wish.subnetId, ipAddress: wish.ipAddress }],
    securityGroupIds: [],
    now,
  })
  const { ipAddress } = await tx
    .selectFrom('portAddresses')
    .select('ipAddress')
    .where('portId', '=', floatingPortId)
    .executeTakeFirstOrThrow()
  if (ipAddress.includes(':')) throw networkError('BadRequest', 'A floating IP is an address of IPv4.')
  await tx
    .insertInto('floatingIps')
    .values({
      id,
      projectId,
      name: wish.name ?? '',
      description: wish.description ?? '',
      floatingNetworkId: networkId,
      floatingPortId,
      floatingIpAddress: ipAddress,
      portId: null,
      fixedIpAddress: null,
      routerId: null,
      status: 'DOWN',
      rateLimitKbps: wish.rateLimitKbps ?? RATE_LIMIT_KBPS,
      registerno: wish.registerno ?? '',
      serviceProvider: wish.serviceProvider ?? '',
      dnsName: wish.dnsName ?? '',
      createdAt: now,
      updatedAt: now,
    })
    .execute()
  return id
}

/**
 * Leads a floating IP to an address of a port, also when it led elsewhere before.
 * @throws ApiError PortNotFound; BadRequest when the port is another project's, has no such address, or several and none
 * was named; ExternalGatewayForFloatingIPNotFound when no router joins the two networks; FloatingIPPortAlreadyAssociated;
 * Conflict when it forwards ports.
 */
export async function bindFloatingIp(
  parts: Parts,
  tx: Tx,
  floatingIp: Row<'floatingIps'>,
  { portId, fixedIpAddress, now }: BindingWish,
): Promise<void> {
  const { id, floatingNetworkId, floatingIpAddress } = floatingIp
  const port = await readTargetPort(tx, floatingIp.projectId, portId)
  const target = await findFixedAddress(tx, port, fixedIpAddress)
  const routerId = await findRouterBetween(tx, floatingIp.projectId, floatingNetworkId, target)
  if (routerId === undefined) {
    throw networkError(
      'ExternalGatewayForFloatingIPNotFound',
      `No router joins subnet ${target.subnetId} and external network ${floatingNetworkId}, so port ${portId} cannot ` +
        'have a floating IP from there.',
    )
  }
  const other = await tx
    .selectFrom('floatingIps')
    .select(['id', 'floatingIpAddress'])
    .where('portId', '=', portId)
    .where('fixedIpAddress', '=', target.ipAddress)
    .where('id', '!=', id)
    .executeTakeFirst()
  if (other) {
    throw networkError(
      'FloatingIPPortAlreadyAssociated',
      `Cannot associate floating IP ${floatingIpAddress} (${id}) with port ${portId}: its address ${target.ipAddress} ` +
        `has floating IP ${other.floatingIpAddress} already.`,
    )
  }
  await assertForwardsNothing(tx, id)
  noteRouters(parts, tx, [floatingIp.routerId, routerId])
  await updateFloatingIp(tx, id, { portId, fixedIpAddress: target.ipAddress, routerId, status: 'DOWN' }, now)
}

/** Ends where it led; does nothing when it leads nowhere. */
export async function unbindFloatingIp(
  parts: Parts,
  tx: Tx,
  floatingIp: Pick<Row<'floatingIps'>, 'id' | 'portId' | 'routerId'>,
  now: number,
): Promise<void> {
  if (floatingIp.portId === null) return
  noteRouters(parts, tx, [floatingIp.routerId])
  await updateFloatingIp(tx, floatingIp.id, UNBOUND, now)
}

/** Gives the address back; what it led to, and forwarded, ends. */
export async function deleteFloatingIp(
  parts: Parts,
  tx: Tx,
  floatingIp: Pick<Row<'floatingIps'>, 'id' | 'floatingPortId' | 'routerId'>,
): Promise<void> {
  noteRouters(parts, tx, [floatingIp.routerId])
  await tx.deleteFrom('portForwardings').where('floatingIpId', '=', floatingIp.id).execute()
  await tx.deleteFrom('floatingIps').where('id', '=', floatingIp.id).execute()
  await tx.deleteFrom('ports').where('id', '=', floatingIp.floatingPortId).execute()
}

/** Unbinds whatever leads to these ports, and ends what is forwarded to them: for before they are deleted. */
export async function releaseFloatingIpsOfPorts(
  parts: Parts,
  tx: Tx,
  portIds: readonly string[],
  now: number,
): Promise<void> {
  if (portIds.length === 0) return
  const bound = await tx
    .selectFrom('floatingIps')
    .select(['id', 'portId', 'routerId'])
    .where('portId', 'in', portIds)
    .execute()
  for (const floatingIp of bound) await unbindFloatingIp(parts, tx, floatingIp, now)
  const forwardings = await tx.selectFrom('portForwardings').selectAll().where('insidePortId', 'in', portIds).execute()
  if (forwardings.length === 0) return
  await tx.deleteFrom('portForwardings').where('insidePortId', 'in', portIds).execute()
  noteRouters(
    parts,
    tx,
    forwardings.map(({ routerId }) => routerId),
  )
  for (const id of new Set(forwardings.flatMap(({ floatingIpId }) => floatingIpId ?? []))) await freeUnused(tx, id, now)
}

/** A floating IP whose last forwarding went is on no router any more. */
export async function freeUnused(tx: Tx, id: string, now: number): Promise<void> {
  const isUsed = await tx.selectFrom('portForwardings').select('id').where('floatingIpId', '=', id).executeTakeFirst()
  if (!isUsed) await updateFloatingIp(tx, id, UNBOUND, now)
}

/** Writes to a floating IP. */
export async function updateFloatingIp(
  tx: Tx,
  id: string,
  change: Partial<Omit<Row<'floatingIps'>, 'id' | 'revision' | 'createdAt' | 'updatedAt'>>,
  now: number,
): Promise<void> {
  await tx
    .updateTable('floatingIps')
    .set((eb) => ({ ...change, revision: eb('revision', '+', 1), updatedAt: now }))
    .where('id', '=', id)
    .execute()
}

/** A floating IP by its address, among the project's own; for clients that know no ids. */
export async function findFloatingIpAt(
  read: Reader,
  projectId: string,
  ipAddress: string,
): Promise<Row<'floatingIps'> | undefined> {
  return read
    .selectFrom('floatingIps')
    .selectAll()
    .where('projectId', '=', projectId)
    .where('floatingIpAddress', '=', ipAddress)
    .executeTakeFirst()
}

const UNBOUND = { portId: null, fixedIpAddress: null, routerId: null, status: 'DOWN' } as const

/** Hosts follow what changed of floating IPs on these routers; null is none. */
export function noteRouters({ networkChanges }: Parts, tx: Tx, ids: readonly (string | null)[]): void {
  for (const id of new Set(ids)) if (id !== null) networkChanges.note(tx, { kind: 'router', id })
}

async function assertExternal(tx: Tx, projectId: string, id: string): Promise<void> {
  const network = await tx.selectFrom('networks').selectAll().where('id', '=', id).executeTakeFirst()
  const isVisible = network && (network.isExternal || network.isShared || network.projectId === projectId)
  if (!isVisible) throw networkError('NetworkNotFound', `Network ${id} could not be found.`)
  if (!network.isExternal) throw networkError('BadRequest', `Network ${id} is not a valid external network.`)
  const subnet = await tx
    .selectFrom('subnets')
    .select('id')
    .where('networkId', '=', id)
    .where('ipVersion', '=', 4)
    .executeTakeFirst()
  if (!subnet) throw networkError('BadRequest', `Network ${id} has no IPv4 subnet.`)
}

async function assertForwardsNothing(tx: Tx, id: string): Promise<void> {
  const forwarding = await tx
    .selectFrom('portForwardings')
    .select('id')
    .where('floatingIpId', '=', id)
    .executeTakeFirst()
  if (forwarding) {
    throw networkError('Conflict', `Floating IP ${id} forwards ports; it can lead to one port only without them.`)
  }
}
