/** `addFixedIp` and `removeFixedIp`: more and fewer addresses on a card that the server has. */
import { type TSchema, Type } from 'typebox'
import type { Tx } from '../db/database.ts'
import { ApiError } from '../http/api-error.ts'
import { giveAddresses } from '../ports/port-addresses.ts'
import { freeOutside, listPortsOfServer, touched } from '../ports/port-store.ts'
import { type ActionCall, type ActionRow, row } from './action-row.ts'
import { asComputeError } from './compute-errors.ts'
import { assertStartable } from './server-state.ts'
import { getServer, updateServer } from './server-store.ts'

export const FIXED_IP_ROWS: Record<'addFixedIp' | 'removeFixedIp', ActionRow> = {
  addFixedIp: row<TSchema, { networkId: string }>(
    Type.Object({ networkId: Type.String({ minLength: 1, maxLength: 255 }) }),
    'servers:action',
    202,
    (call) => call.cloud.db.transaction((tx) => addFixedIp(call, tx)),
  ),
  removeFixedIp: row<TSchema, { address: string }>(
    Type.Object({ address: Type.String({ minLength: 1, maxLength: 255 }) }),
    'servers:action',
    202,
    (call) => call.cloud.db.transaction((tx) => removeFixedIp(call, tx)),
  ),
}

/**
 * Gives the server's card on a network another address.
 * @throws ApiError itemNotFound; conflictingRequest for the state; badRequest when it has no card there, or no address
 * is free.
 */
async function addFixedIp({ cloud, caller, serverId, body }: ActionCall<{ networkId: string }>, tx: Tx): Promise<void> {
  const now = cloud.clock.now()
  const server = await getServer(tx, caller, serverId)
  assertStartable(server, 'addFixedIp', caller.isAdmin)
  const port = (await listPortsOfServer(tx, serverId)).find(({ networkId }) => networkId === body.networkId)
  if (!port) throw new ApiError('badRequest', `Instance ${serverId} has no port on network ${body.networkId}.`)
  const network = await tx
    .selectFrom('networks')
    .select(['id', 'projectId'])
    .where('id', '=', port.networkId)
    .executeTakeFirstOrThrow()
  const { id: portId, projectId, macAddress, deviceOwner } = port
  await giveAddresses(tx, { portId, projectId, network, macAddress, deviceOwner }, [{}]).catch((error: unknown) => {
    throw asComputeError(error)
  })
  await tx.updateTable('ports').set(touched(now)).where('id', '=', portId).execute()
  await updateServer(tx, serverId, {}, now)
  cloud.networkChanges.note(tx, { kind: 'port', id: portId })
}

/**
 * Takes an address from a card of the server; what led to it from outside ends.
 * @throws ApiError itemNotFound; conflictingRequest for the state; badRequest when no card of it has the address.
 */
async function removeFixedIp(
  { cloud, caller, serverId, body }: ActionCall<{ address: string }>,
  tx: Tx,
): Promise<void> {
  const now = cloud.clock.now()
  const server = await getServer(tx, caller, serverId)
  assertStartable(server, 'removeFixedIp', caller.isAdmin)
  const ports = await listPortsOfServer(tx, serverId)
  const { address: ipAddress } = body
  for (const { id } of ports) {
    const known = await tx
      .selectFrom('portAddresses')
      .select('subnetId')
      .where('portId', '=', id)
      .where('ipAddress', '=', ipAddress)
      .executeTakeFirst()
    if (!known) continue
    await cloud.networkChanges.noteLeaving(tx, { kind: 'port', id })
    await freeOutside(tx, id, [ipAddress])
    await tx.deleteFrom('portAddresses').where('portId', '=', id).where('ipAddress', '=', ipAddress).execute()
    await tx.updateTable('ports').set(touched(now)).where('id', '=', id).execute()
    return updateServer(tx, serverId, {}, now)
  }
  throw new ApiError('badRequest', `Instance ${serverId} has no fixed address ${ipAddress}.`)
}
