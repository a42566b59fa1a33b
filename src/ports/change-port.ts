import type { Tx } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { autoAddress, parseNetwork } from '../lib/ip.ts'
import { networkError } from '../network-api/network-errors.ts'
import type { ResourceCall } from '../network-api/resource.ts'
import { type FixedIpWish, giveAddresses, isAutomatic } from './port-addresses.ts'
import { assertFiltersFit, assertFreeDevice, assertMayChoose, isServicePort, readGroups } from './port-rules.ts'
import { freeOutside, macInUse, touched } from './port-store.ts'
import {
  dhcpOptionsOf,
  type PortChange,
  pairsOf,
  readDhcpOptions,
  readFixedIps,
  readPairs,
  readPlainColumns,
} from './port-values.ts'
import type { ShownPort } from './port-view.ts'

/** All that may change of a port which is the end of a router, or a service. */
const NAMES = ['name', 'description']

/**
 * Changes a port: lists take the place of what was there, but for DHCP options, which are named one by one.
 * @throws ApiError what port-rules.ts and port-values.ts throw; PortInUse for what is not to be changed while something
 * uses the port; what `giveAddresses` throws.
 */
export async function changePort(call: ResourceCall, tx: Tx, port: ShownPort, change: PortChange): Promise<void> {
  const { cloud, caller, now } = call
  const { id } = port
  if (isServicePort(port) && Object.keys(change).some((member) => !NAMES.includes(member))) {
    const message = `Port ${id} is ${port.deviceOwner} of ${port.deviceId}: only its name and description change here.`
    throw networkError('PortInUse', message)
  }
  const network = await tx.selectFrom('networks').selectAll().where('id', '=', port.networkId).executeTakeFirstOrThrow()
  assertMayChoose(caller, network, change)
  await assertDeviceChange(tx, port, change)
  const macAddress = readMac(call, port, change)
  const pairs =
    change.allowed_address_pairs === undefined ? pairsOf(port) : readPairs(change.allowed_address_pairs, macAddress)
  const groups = change.security_groups && (await readGroups(tx, caller, port.projectId, change.security_groups))
  assertFiltersFit(change, {
    isFiltered: change.port_security_enabled ?? port.hasPortSecurity === 1,
    groups: (groups ?? port.securityGroupIds).length,
    pairs: pairs.length,
  })
  const options = readDhcpOptions(
    change.extra_dhcp_opts ?? [],
    change.extra_dhcp_opts === null ? [] : dhcpOptionsOf(port),
  )

  await cloud.networkChanges.noteLeaving(tx, { kind: 'port', id })
  await tx
    .updateTable('ports')
    .set({
      ...readPlainColumns(change),
      ...(change.device_id === undefined ? {} : { deviceId: change.device_id }),
      ...(change.device_owner === undefined ? {} : { deviceOwner: change.device_owner }),
      allowedAddressPairs: JSON.stringify(pairs),
      extraDhcpOptions: JSON.stringify(options),
      ...touched(now),
    })
    .where('id', '=', id)
    .execute()
  if (groups) await replaceGroups(tx, id, groups)
  if (macAddress !== port.macAddress) await replaceMac(tx, id, macAddress)
  const deviceOwner = change.device_owner ?? port.deviceOwner
  const { projectId } = port
  const owner = { portId: id, projectId, network, macAddress, deviceOwner }
  const wishes = readFixedIps(change.fixed_ips)
  if (wishes || macAddress !== port.macAddress) {
    await replaceAddresses(
      tx,
      owner,
      wishes ?? port.addresses.map(({ subnetId, ipAddress }) => ({ subnetId, ipAddress })),
    )
  }
  cloud.networkChanges.note(tx, { kind: 'port', id })
}

/** @throws ApiError PortInUse for a server's port; InvalidInput for what only servers and routers take. */
async function assertDeviceChange(tx: Tx, port: ShownPort, change: PortChange): Promise<void> {
  const { device_id: deviceId = port.deviceId, device_owner: deviceOwner = port.deviceOwner } = change
  if (deviceId === port.deviceId && deviceOwner === port.deviceOwner) return
  const server = await tx
    .selectFrom('servers')
    .select('id')
    .where('id', '=', port.deviceId)
    .where('deletedAt', 'is', null)
    .executeTakeFirst()
  if (server) throw networkError('PortInUse', `Port ${port.id} is a card of server ${server.id}: detach it there.`)
  if (deviceId !== port.deviceId) await assertFreeDevice(tx, deviceId)
}

/** @throws ApiError PolicyNotAuthorized, PortInUse. */
function readMac({ caller }: ResourceCall, port: ShownPort, change: PortChange): string {
  const macAddress = change.mac_address?.toLowerCase() ?? port.macAddress
  if (macAddress === port.macAddress) return macAddress
  if (!caller.isAdmin) throw networkError('PolicyNotAuthorized', 'Only an admin changes the mac_address of a port.')
  if (port.deviceId === '') return macAddress
  throw networkError('PortInUse', `Port ${port.id} is in use by ${port.deviceId}; its MAC address stays.`)
}

async function replaceMac(tx: Tx, id: string, macAddress: string): Promise<void> {
  const other = await tx
    .selectFrom('ports')
    .select('id')
    .where('macAddress', '=', macAddress)
    .where('id', '!=', id)
    .executeTakeFirst()
  if (other) throw macInUse(macAddress)
  await tx.updateTable('ports').set({ macAddress }).where('id', '=', id).execute()
}

async function replaceGroups(tx: Tx, portId: string, groups: readonly string[]): Promise<void> {
  await tx.deleteFrom('portSecurityGroups').where('portId', '=', portId).execute()
  const rows = groups.map((securityGroupId) => ({ portId, securityGroupId }))
  if (rows.length > 0) await tx.insertInto('portSecurityGroups').values(rows).execute()
}

/** An address that still fits a wish stays; what leads to the others from outside ends. */
async function replaceAddresses(
  tx: Tx,
  owner: Parameters<typeof giveAddresses>[1],
  wishes: readonly FixedIpWish[],
): Promise<void> {
  const held = await tx
    .selectFrom('portAddresses')
    .innerJoin('subnets', 'subnets.id', 'portAddresses.subnetId')
    .selectAll('subnets')
    .select('portAddresses.ipAddress')
    .where('portAddresses.portId', '=', owner.portId)
    .execute()
  const isStale = (one: (typeof held)[number]) =>
    isAutomatic(one) && one.ipAddress !== autoAddress(parseNetwork(one.cidr), owner.macAddress)
  const left = new Set(held.filter((one) => !isStale(one)))
  const missing = wishes.flatMap((wish) => {
    const fitting = [...left].find((one) => fits(one, wish))
    if (fitting) left.delete(fitting)
    // A card makes itself another address with another MAC, whatever the old one was.
    const stale = held.find((one) => isStale(one) && one.ipAddress === wish.ipAddress)
    return fitting ? [] : [stale ? { subnetId: stale.id } : wish]
  })
  const surplus = [...held.filter(isStale), ...left].map(({ ipAddress }) => ipAddress)
  if (surplus.length > 0) {
    await freeOutside(tx, owner.portId, surplus)
    await tx.deleteFrom('portAddresses').where('portId', '=', owner.portId).where('ipAddress', 'in', surplus).execute()
  }
  if (missing.length > 0) await giveAddresses(tx, owner, missing)
}

const fits = (held: Row<'subnets'> & { ipAddress: string }, { subnetId, ipAddress }: FixedIpWish): boolean =>
  (subnetId === undefined || subnetId === held.id) &&
  (ipAddress === undefined ? subnetId !== undefined || held.ipVersion === 4 : ipAddress === held.ipAddress)
