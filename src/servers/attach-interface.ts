/** Accepts network cards for servers, and their end; change-cards.ts then does it. */

import type { Static } from 'typebox'
import { acceptAction } from '../actions/journal.ts'
import type { Cloud } from '../cloud.ts'
import type { Tx } from '../db/database.ts'
import { OWNERS } from '../db/device-owners.ts'
import type { Row } from '../db/schema.ts'
import { MOST_CARDS } from '../host/host-driver.ts'
import { ApiError } from '../http/api-error.ts'
import type { Caller } from '../http/policy.ts'
import { isUuidLike } from '../lib/ids.ts'
import { assertNetworkQuota } from '../network-api/network-quotas.ts'
import { findUsableNetwork, listUsableNetworks } from '../networks/network-store.ts'
import type { FixedIpWish } from '../ports/port-addresses.ts'
import { bindPort, insertPort, listPortsOfServer } from '../ports/port-store.ts'
import { ensureDefaultGroup } from '../security-groups/security-group-store.ts'
import { asComputeError } from './compute-errors.ts'
import { demandNoDeviceChange } from './device-changes.ts'
import type { AttachRequest } from './interface-schema.ts'
import { assertStartable } from './server-state.ts'
import { getServer } from './server-store.ts'

/** What a body of S26 or S28 asks for. */
type Wish = { portId: string } | { networkId: string | undefined; fixedIp: FixedIpWish | undefined }

/**
 * Accepts a card: an existing port, or a new one on a network. The port is the server's from now on, and carries
 * traffic (`ACTIVE`) once it is plugged in.
 * @returns the id of the port.
 * @throws ApiError itemNotFound for server, port or network; badRequest for what does not go together, several networks
 * and none named, or no free address; forbidden for quota; conflictingRequest for the server's state, a port in use, an
 * address in use, or too many cards.
 */
export async function acceptAttachInterface(
  cloud: Cloud,
  tx: Tx,
  caller: Caller,
  serverId: string,
  body: Static<typeof AttachRequest>,
): Promise<string> {
  const wish = readWish(body.interfaceAttachment ?? {})
  const server = await getServer(tx, caller, serverId)
  assertStartable(server, 'attachInterface', caller.isAdmin)
  await demandNoDeviceChange(tx, serverId)
  const cards = await listPortsOfServer(tx, serverId)
  if (cards.length >= MOST_CARDS) {
    throw new ApiError('conflictingRequest', `Instance ${serverId} has ${MOST_CARDS} network cards, and takes no more.`)
  }
  const position = Math.max(-1, ...cards.map((card) => card.position)) + 1
  const portId = await ('portId' in wish
    ? takePort(tx, server, wish.portId, position)
    : makePort(cloud, tx, server, wish, position))
  await cloud.networkChanges.noteNeighbours(tx, [portId])
  await acceptAction(tx, cloud.actions.attachInterface, serverId, { portId }, caller, cloud.clock.now())
  tx.onCommit(() => cloud.runner.nudge())
  return portId
}

/**
 * Accepts that a card goes.
 * @throws ApiError itemNotFound for the server, or a port that is not this server's; conflictingRequest for its state.
 */
export async function acceptDetachInterface(
  cloud: Cloud,
  tx: Tx,
  caller: Caller,
  serverId: string,
  portId: string,
): Promise<void> {
  const server = await getServer(tx, caller, serverId)
  assertStartable(server, 'detachInterface', caller.isAdmin)
  await demandNoDeviceChange(tx, serverId)
  const cards = await listPortsOfServer(tx, serverId)
  if (!cards.some(({ id }) => id === portId)) throw portNotOnServer(serverId, portId)
  await acceptAction(tx, cloud.actions.detachInterface, serverId, { portId }, caller, cloud.clock.now())
  tx.onCommit(() => cloud.runner.nudge())
}

export const portNotOnServer = (serverId: string, portId: string): ApiError =>
  new ApiError('itemNotFound', `Instance ${serverId} has no port ${portId}.`)

/** The subnet may stand in `fixed_ips` or beside the network, and be misspelt as the UOS documents have it (I-06). */
function readWish(attachment: NonNullable<Static<typeof AttachRequest>['interfaceAttachment']>): Wish {
  const portId = attachment.port_id ?? undefined
  const networkId = attachment.net_id ?? undefined
  const [fixed = {}] = attachment.fixed_ips ?? []
  const subnetId = fixed.subnet_id ?? fixed.sbunet_id ?? attachment.subnet_id ?? attachment.sbunet_id ?? undefined
  const ipAddress = fixed.ip_address ?? undefined
  for (const [name, id] of Object.entries({ port_id: portId, net_id: networkId, subnet_id: subnetId })) {
    if (id !== undefined && !isUuidLike(id)) throw new ApiError('badRequest', `'${name}' is not a UUID: ${id}.`)
  }
  const hasFixedIp = subnetId !== undefined || ipAddress !== undefined
  if (portId !== undefined) {
    if (networkId !== undefined) throw new ApiError('badRequest', "Only one of 'port_id' and 'net_id' can be named.")
    if (hasFixedIp) throw new ApiError('badRequest', "A port has its own addresses; 'fixed_ips' does not go with it.")
    return { portId }
  }
  if (ipAddress !== undefined && networkId === undefined) {
    throw new ApiError('badRequest', "An 'ip_address' needs the 'net_id' that it is on.")
  }
  return { networkId, fixedIp: hasFixedIp ? { subnetId, ipAddress } : undefined }
}

async function takePort(tx: Tx, server: Row<'servers'>, portId: string, position: number): Promise<string> {
  const port = await tx
    .selectFrom('ports')
    .innerJoin('networks', 'networks.id', 'ports.networkId')
    .select(['ports.deviceId', 'networks.isExternal'])
    .where('ports.id', '=', portId)
    .where('ports.projectId', '=', server.projectId)
    .executeTakeFirst()
  if (!port) throw new ApiError('itemNotFound', `Port ${portId} could not be found.`)
  if (port.isExternal) throw new ApiError('badRequest', `Port ${portId} is on an external network; servers are not.`)
  if (await bindPort(tx, portId, server.id, OWNERS.server, position)) return portId
  throw new ApiError('conflictingRequest', `Port ${portId} is still in use.`)
}

async function makePort(
  cloud: Cloud,
  tx: Tx,
  { id: deviceId, projectId }: Row<'servers'>,
  { networkId, fixedIp }: Exclude<Wish, { portId: string }>,
  position: number,
): Promise<string> {
  const now = cloud.clock.now()
  const network = await readNetwork(tx, projectId, networkId)
  try {
    await assertNetworkQuota(tx, projectId, 'port')
    const group = await ensureDefaultGroup(cloud, tx, projectId, now)
    return await insertPort(tx, {
      projectId,
      networkId: network.id,
      deviceId,
      deviceOwner: OWNERS.server,
      position,
      fixedIps: fixedIp && [fixedIp],
      securityGroupIds: [group.id],
      isOwnedByServer: true,
      now,
    })
  } catch (error) {
    throw asComputeError(error)
  }
}

async function readNetwork(tx: Tx, projectId: string, networkId: string | undefined): Promise<Row<'networks'>> {
  if (networkId !== undefined) {
    const network = await findUsableNetwork(tx, projectId, networkId)
    if (network) return network
    throw new ApiError('itemNotFound', `Network ${networkId} could not be found.`)
  }
  const [only, another] = await listUsableNetworks(tx, projectId)
  if (!only) throw new ApiError('badRequest', 'This project has no network to attach to.')
  if (another) throw new ApiError('badRequest', "Multiple possible networks found; name one in 'net_id'.")
  return only
}
