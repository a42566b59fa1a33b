import { type Insertable, sql } from 'kysely'
import type { Reader, Tx } from '../db/database.ts'
import type { Row, Schema } from '../db/schema.ts'
import type { PortPlan } from '../host/host-driver.ts'
import { findDhcpOption } from '../lib/dhcp-options.ts'
import { newId, newMacAddress } from '../lib/ids.ts'
import { networkError } from '../network-api/network-errors.ts'
import { readNetworkPlan } from '../networks/network-store.ts'
import { readGroupPlansOfPort } from '../security-groups/group-plan.ts'
import { type FixedIpWish, giveAddresses } from './port-addresses.ts'
import { dhcpOptionsOf, type ExtraDhcpOption, pairsOf } from './port-values.ts'

export interface NewPort {
  projectId: string
  networkId: string
  /** '' for a port nothing uses yet. */
  deviceId: string
  deviceOwner: string
  /** Position among the cards of its server, from 0. */
  position?: number
  /** Which addresses it gets; see `giveAddresses` for what it gets without a wish. None at all: an empty list. */
  fixedIps?: readonly FixedIpWish[] | undefined
  /** One that nobody has when undefined. */
  macAddress?: string | undefined
  /** In which groups it is; it is in none when its network is not filtered. */
  securityGroupIds: readonly string[]
  isOwnedByServer?: boolean
  /** What else differs from a plain port. */
  columns?: Partial<
    Pick<
      Insertable<Schema['ports']>,
      | 'name'
      | 'description'
      | 'isUp'
      | 'hasAntiSpoofing'
      | 'hasPortSecurity'
      | 'extraDhcpOptions'
      | 'vnicType'
      | 'bindingHost'
      | 'bindingProfile'
      | 'dnsName'
    >
  >
  now: number
}

/**
 * Makes a port with a MAC and addresses that nobody else has. The keys of the tables decide, not a look before: two
 * at once cannot get the same.
 * @throws ApiError MacAddressInUse; what `giveAddresses` throws.
 */
export async function insertPort(tx: Tx, port: NewPort): Promise<string> {
  const id = newId()
  const network = await tx
    .selectFrom('networks')
    .select(['id', 'projectId', 'hasPortSecurity'])
    .where('id', '=', port.networkId)
    .executeTakeFirstOrThrow()
  const hasPortSecurity = port.columns?.hasPortSecurity ?? network.hasPortSecurity
  const macAddress = await insertRow(tx, id, { ...port, columns: { ...port.columns, hasPortSecurity } })
  const { projectId, deviceOwner } = port
  await giveAddresses(tx, { portId: id, projectId, network, macAddress, deviceOwner }, port.fixedIps)
  if (port.securityGroupIds.length > 0 && hasPortSecurity) {
    await tx
      .insertInto('portSecurityGroups')
      .values(port.securityGroupIds.map((securityGroupId) => ({ portId: id, securityGroupId })))
      .execute()
  }
  return id
}

/** @returns the MAC it has. */
async function insertRow(tx: Tx, id: string, port: NewPort): Promise<string> {
  for (;;) {
    const macAddress = port.macAddress ?? newMacAddress()
    const { numInsertedOrUpdatedRows } = await tx
      .insertInto('ports')
      .values({
        id,
        networkId: port.networkId,
        projectId: port.projectId,
        name: '',
        macAddress,
        deviceId: port.deviceId,
        deviceOwner: port.deviceOwner,
        position: port.position ?? 0,
        status: 'DOWN',
        isUp: 1,
        hasAntiSpoofing: 1,
        isOwnedByServer: port.isOwnedByServer ? 1 : 0,
        createdAt: port.now,
        updatedAt: port.now,
        ...port.columns,
      })
      .onConflict((conflict) => conflict.column('macAddress').doNothing())
      .executeTakeFirstOrThrow()
    if (numInsertedOrUpdatedRows === 1n) return macAddress
    if (port.macAddress !== undefined) throw macInUse(port.macAddress)
  }
}

export const macInUse = (macAddress: string) =>
  networkError('MacAddressInUse', `The MAC address ${macAddress} is already in use.`)

/** What every change of a row writes besides. */
export const touched = (now: number) => ({ revision: sql<number>`revision + 1`, updatedAt: now })

/** What is written to a port that somebody lets go of, and that stays. */
export const freed = (now: number) => ({ deviceId: '', deviceOwner: '', status: 'DOWN' as const, ...touched(now) })

const UNBOUND = { portId: null, fixedIpAddress: null, routerId: null, status: 'DOWN' } as const

/**
 * Ends what leads from outside to addresses that a port loses: floating IPs are unbound, forwardings go, and a floating
 * IP whose last forwarding that was is on no router any more.
 */
export async function freeOutside(tx: Tx, portId: string, addresses: readonly string[]): Promise<void> {
  if (addresses.length === 0) return
  await tx
    .updateTable('floatingIps')
    .set(UNBOUND)
    .where('portId', '=', portId)
    .where('fixedIpAddress', 'in', addresses)
    .execute()
  const gone = await tx
    .deleteFrom('portForwardings')
    .where('insidePortId', '=', portId)
    .where('insideAddress', 'in', addresses)
    .returning('floatingIpId')
    .execute()
  const floatingIpIds = gone.flatMap(({ floatingIpId }) => floatingIpId ?? [])
  if (floatingIpIds.length === 0) return
  const rest = tx.selectFrom('portForwardings').select('floatingIpId').where('floatingIpId', 'in', floatingIpIds)
  const used = new Set((await rest.execute()).map(({ floatingIpId }) => floatingIpId))
  const unused = floatingIpIds.filter((id) => !used.has(id))
  if (unused.length > 0) await tx.updateTable('floatingIps').set(UNBOUND).where('id', 'in', unused).execute()
}

/** The ports of a server, first card first. */
export async function listPortsOfServer(read: Reader, serverId: string): Promise<Row<'ports'>[]> {
  return read.selectFrom('ports').selectAll().where('deviceId', '=', serverId).orderBy('position').execute()
}

/** What the host must know of a port. */
export async function readPortPlan(read: Reader, port: Row<'ports'>, hostName: string): Promise<PortPlan> {
  const [addresses, network, securityGroups] = await Promise.all([
    read.selectFrom('portAddresses').select(['subnetId', 'ipAddress']).where('portId', '=', port.id).execute(),
    readNetworkPlan(read, port.networkId),
    readGroupPlansOfPort(read, port.id),
  ])
  const { id: portId, deviceId: serverId, macAddress } = port
  const isFiltered = port.hasPortSecurity === 1
  return {
    portId,
    serverId,
    macAddress,
    hostName,
    addresses,
    network,
    isUp: port.isUp === 1,
    antiSpoofing: isFiltered && port.hasAntiSpoofing === 1,
    allowedAddresses: pairsOf(port).map((pair) => ({ ipAddress: pair.ip_address, macAddress: pair.mac_address })),
    dhcpOptions: dhcpOptionsOf(port).map(planOption),
    securityGroups: isFiltered ? securityGroups : null,
  }
}

/** By its number: the service that serves it has names of its own for some. */
const planOption = ({ opt_name, opt_value: value, ip_version: ipVersion }: ExtraDhcpOption) => ({
  name: String(findDhcpOption(opt_name, ipVersion)?.code ?? opt_name),
  value,
  ipVersion,
})

/** Gives an existing, unused port to a server; false when something else was quicker. */
export async function bindPort(
  tx: Tx,
  portId: string,
  serverId: string,
  owner: string,
  position: number,
): Promise<boolean> {
  const { numUpdatedRows } = await tx
    .updateTable('ports')
    .set((port) => ({ deviceId: serverId, deviceOwner: owner, position, revision: port('revision', '+', 1) }))
    .where('id', '=', portId)
    .where('deviceId', '=', '')
    .executeTakeFirstOrThrow()
  return numUpdatedRows === 1n
}

/** Says of all ports of a server whether they carry traffic. */
export async function setPortStatus(tx: Tx, serverId: string, status: 'ACTIVE' | 'DOWN'): Promise<void> {
  await tx.updateTable('ports').set({ status }).where('deviceId', '=', serverId).execute()
}
