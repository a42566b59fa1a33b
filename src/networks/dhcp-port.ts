import type { Cloud } from '../cloud.ts'
import type { Tx } from '../db/database.ts'
import { OWNERS } from '../db/device-owners.ts'
import type { Row } from '../db/schema.ts'
import { networkError } from '../network-api/network-errors.ts'
import { deletePorts } from '../ports/delete-ports.ts'
import { giveAutomatic, isAutomatic, takeLowestAddress } from '../ports/port-addresses.ts'
import { insertPort, touched } from '../ports/port-store.ts'
import { listSubnets } from './network-store.ts'

/**
 * Gives a network the port of its DHCP service with an address in each subnet that has DHCP, and takes away what is
 * not needed any more; for after each change of its subnets. External networks and those that tenants manage
 * themselves have no service.
 * @throws ApiError IpAddressGenerationFailure when a subnet has no address left for it.
 */
export async function settleDhcpPort(
  parts: Pick<Cloud, 'networkChanges' | 'clock'>,
  tx: Tx,
  network: Row<'networks'>,
  now: number,
): Promise<void> {
  const isServed = network.isExternal === 0 && network.isUnmanaged === 0
  const subnets = isServed ? (await listSubnets(tx, network.id)).filter(({ hasDhcp }) => hasDhcp === 1) : []
  const ports = tx.selectFrom('ports').selectAll().where('networkId', '=', network.id)
  let port = await ports.where('deviceOwner', '=', OWNERS.dhcp).executeTakeFirst()
  if (subnets.length === 0) {
    if (port) await deletePorts(parts, tx, [port.id])
    return
  }
  if (!port) {
    const id = await insertPort(tx, {
      projectId: network.projectId,
      networkId: network.id,
      deviceId: `dhcp-${network.id}`,
      deviceOwner: OWNERS.dhcp,
      fixedIps: [],
      securityGroupIds: [],
      now,
    })
    port = await ports.where('id', '=', id).executeTakeFirstOrThrow()
  }
  const held = await tx.selectFrom('portAddresses').selectAll().where('portId', '=', port.id).execute()
  const surplus = held.filter(({ subnetId }) => !subnets.some(({ id }) => id === subnetId))
  const missing = subnets.filter(({ id }) => !held.some(({ subnetId }) => subnetId === id))
  if (surplus.length + missing.length === 0) return
  await parts.networkChanges.noteLeaving(tx, { kind: 'port', id: port.id })
  for (const { subnetId } of surplus) {
    await tx.deleteFrom('portAddresses').where('portId', '=', port.id).where('subnetId', '=', subnetId).execute()
  }
  for (const subnet of missing) await giveAddress(tx, port, network, subnet)
  await tx.updateTable('ports').set(touched(now)).where('id', '=', port.id).execute()
}

async function giveAddress(
  tx: Tx,
  { id: portId, macAddress, deviceOwner, projectId }: Row<'ports'>,
  network: Row<'networks'>,
  subnet: Row<'subnets'>,
): Promise<void> {
  if (isAutomatic(subnet)) {
    return giveAutomatic(tx, { portId, macAddress, deviceOwner, projectId, network }, subnet)
  }
  if (await takeLowestAddress(tx, subnet, portId)) return
  const message = `No address is left in the allocation pools of subnet ${subnet.id} for its DHCP service.`
  throw networkError('IpAddressGenerationFailure', message)
}
