import { randomInt } from 'node:crypto'
import type { Reader, Tx } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { PortPlan } from '../host/host-driver.ts'
import { ApiError } from '../http/api-error.ts'
import { newId, newMacAddress } from '../lib/ids.ts'
import { formatIpv4, parseCidr4, parseIpv4 } from '../lib/ipv4.ts'
import { listSubnets, readNetworkPlan } from '../networks/network-store.ts'
import { readGroupPlansOfPort } from '../security-groups/group-plan.ts'

/** Random picks before all taken addresses are read; with half a pool taken, one in 256 gets so far. */
const PICKS = 8

export interface NewPort {
  projectId: string
  networkId: string
  /** '' for a port nothing uses yet. */
  deviceId: string
  deviceOwner: string
  /** Position among the cards of its server, from 0. */
  position?: number
  /** The address it must get; without one, any free address of the network's first subnet that has one. */
  address?: { ipAddress: string }
  securityGroupIds: string[]
  isOwnedByServer?: boolean
  now: number
}

/**
 * Makes a port with a MAC and an address that nobody else has. The keys of the tables decide, not a look before: two
 * at once cannot get the same.
 * @throws ApiError badRequest when the address is outside the subnets or taken; conflictingRequest when none is free.
 */
export async function insertPort(tx: Tx, port: NewPort): Promise<string> {
  const id = newId()
  await insertRow(tx, id, port)
  await giveAddress(tx, id, port)
  if (port.securityGroupIds.length > 0) {
    await tx
      .insertInto('portSecurityGroups')
      .values(port.securityGroupIds.map((securityGroupId) => ({ portId: id, securityGroupId })))
      .execute()
  }
  return id
}

async function insertRow(tx: Tx, id: string, port: NewPort): Promise<void> {
  for (;;) {
    const { numInsertedOrUpdatedRows } = await tx
      .insertInto('ports')
      .values({
        id,
        networkId: port.networkId,
        projectId: port.projectId,
        name: '',
        macAddress: newMacAddress(),
        deviceId: port.deviceId,
        deviceOwner: port.deviceOwner,
        position: port.position ?? 0,
        status: 'DOWN',
        isUp: 1,
        hasAntiSpoofing: 1,
        isOwnedByServer: port.isOwnedByServer ? 1 : 0,
        createdAt: port.now,
        updatedAt: port.now,
      })
      .onConflict((conflict) => conflict.column('macAddress').doNothing())
      .executeTakeFirstOrThrow()
    if (numInsertedOrUpdatedRows === 1n) return
  }
}

async function giveAddress(tx: Tx, portId: string, port: NewPort): Promise<void> {
  const subnets = (await listSubnets(tx, port.networkId)).filter((subnet) => subnet.ipVersion === 4)
  if (port.address) {
    const { ipAddress } = port.address
    const subnet = subnets.find((one) => contains(one.cidr, ipAddress))
    if (!subnet) throw new ApiError('badRequest', `Address ${ipAddress} is in no subnet of network ${port.networkId}.`)
    // Who had it would get the traffic of all others on the network.
    if (ipAddress === subnet.gatewayIp && port.deviceOwner.startsWith('compute:')) {
      throw new ApiError('badRequest', `Address ${ipAddress} is the gateway of subnet ${subnet.id}.`)
    }
    if (await takeAddress(tx, subnet.id, ipAddress, portId)) return
    throw new ApiError('badRequest', `Address ${ipAddress} is already in use.`)
  }
  if (subnets.length === 0) return
  for (const subnet of subnets) if (await takeAnyAddress(tx, subnet, portId)) return
  throw new ApiError('conflictingRequest', `No more addresses are free on network ${port.networkId}.`)
}

function contains(cidr: string, ipAddress: string): boolean {
  try {
    const { first, last } = parseCidr4(cidr)
    const address = parseIpv4(ipAddress)
    // `09` would be another key for the address 9, and so the same address twice.
    return address > first && address < last && formatIpv4(address) === ipAddress
  } catch {
    return false
  }
}

async function takeAddress(tx: Tx, subnetId: string, ipAddress: string, portId: string): Promise<boolean> {
  const { numInsertedOrUpdatedRows } = await tx
    .insertInto('portAddresses')
    .values({ subnetId, ipAddress, portId })
    .onConflict((conflict) => conflict.columns(['subnetId', 'ipAddress']).doNothing())
    .executeTakeFirstOrThrow()
  return numInsertedOrUpdatedRows === 1n
}

async function takeAnyAddress(tx: Tx, subnet: Row<'subnets'>, portId: string): Promise<boolean> {
  const pools = (JSON.parse(subnet.allocationPools) as { start: string; end: string }[]).map(({ start, end }) => ({
    start: parseIpv4(start),
    size: parseIpv4(end) - parseIpv4(start) + 1,
  }))
  const total = pools.reduce((sum, pool) => sum + pool.size, 0)
  const nth = (n: number): string => {
    for (const pool of pools) {
      if (n < pool.size) return formatIpv4(pool.start + n)
      n -= pool.size
    }
    throw new RangeError('The allocation pools end before this address.')
  }
  if (total === 0) return false
  for (let pick = 0; pick < PICKS; pick++) {
    if (await takeAddress(tx, subnet.id, nth(randomInt(total)), portId)) return true
  }
  const taken = new Set(
    (await tx.selectFrom('portAddresses').select('ipAddress').where('subnetId', '=', subnet.id).execute()).map(
      (row) => row.ipAddress,
    ),
  )
  for (let n = 0; n < total; n++) {
    if (!taken.has(nth(n)) && (await takeAddress(tx, subnet.id, nth(n), portId))) return true
  }
  return false
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
  const pairs = JSON.parse(port.allowedAddressPairs) as { ip_address: string; mac_address: string }[]
  const options = JSON.parse(port.extraDhcpOptions) as { opt_name: string; opt_value: string; ip_version: 4 | 6 }[]
  return {
    portId,
    serverId,
    macAddress,
    hostName,
    addresses,
    network,
    isUp: port.isUp === 1,
    antiSpoofing: isFiltered && port.hasAntiSpoofing === 1,
    allowedAddresses: pairs.map((pair) => ({ ipAddress: pair.ip_address, macAddress: pair.mac_address })),
    dhcpOptions: options.map((one) => ({ name: one.opt_name, value: one.opt_value, ipVersion: one.ip_version })),
    securityGroups: isFiltered ? securityGroups : null,
  }
}

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
    .set({ deviceId: serverId, deviceOwner: owner, position })
    .where('id', '=', portId)
    .where('deviceId', '=', '')
    .executeTakeFirstOrThrow()
  return numUpdatedRows === 1n
}

/** Says of all ports of a server whether they carry traffic. */
export async function setPortStatus(tx: Tx, serverId: string, status: 'ACTIVE' | 'DOWN'): Promise<void> {
  await tx.updateTable('ports').set({ status }).where('deviceId', '=', serverId).execute()
}

/** Ends what a server had: ports made for it go, with their addresses; ports that a user made are free again. */
export async function releasePorts(tx: Tx, serverId: string): Promise<void> {
  await tx.deleteFrom('ports').where('deviceId', '=', serverId).where('isOwnedByServer', '=', 1).execute()
  await tx
    .updateTable('ports')
    .set({ deviceId: '', deviceOwner: '', status: 'DOWN' })
    .where('deviceId', '=', serverId)
    .execute()
}
