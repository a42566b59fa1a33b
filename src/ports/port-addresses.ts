/**
 * Which addresses a port gets. The key of the table decides who has one, not a look before: two at once cannot get the
 * same, and who lost tries the next.
 */
import { randomBytes } from 'node:crypto'
import type { Tx } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { autoAddress, contains, formatAddress, hostRange, parseAddress, parseNetwork } from '../lib/ip.ts'
import { networkError } from '../network-api/network-errors.ts'
import { listSubnets } from '../networks/network-store.ts'

/** Random picks before all taken addresses are read; with half a pool taken, one in 256 gets so far. */
const PICKS = 8

/** An address a port is to have: any of a subnet, a certain one, or both said. Neither: any of any IPv4 subnet. */
export interface FixedIpWish {
  subnetId?: string | undefined
  ipAddress?: string | undefined
}

/** Who asks for addresses. */
export interface AddressOwner {
  portId: string
  projectId: string
  network: Pick<Row<'networks'>, 'id' | 'projectId'>
  macAddress: string
  deviceOwner: string
}

/** Whether cards make their own addresses on a subnet. */
export const isAutomatic = ({ ipv6AddressMode, ipv6RaMode }: Row<'subnets'>): boolean =>
  [ipv6AddressMode, ipv6RaMode].some((mode) => mode === 'slaac' || mode === 'dhcpv6-stateless')

/**
 * Gives a port the addresses it wishes. Without a wish: one of the oldest IPv4 subnet that has one, the same for IPv6,
 * and one of each subnet where cards make their own. A network without subnets gives none.
 * @throws ApiError InvalidInput, InvalidIpForNetwork, InvalidIpForSubnet for what cannot be; IpAddressAlreadyAllocated;
 * IpAddressGenerationFailure when a pool is exhausted.
 */
export async function giveAddresses(tx: Tx, owner: AddressOwner, wishes?: readonly FixedIpWish[]): Promise<void> {
  if (wishes?.length === 0) return
  const subnets = await listSubnets(tx, owner.network.id)
  if (!wishes) return giveUsual(tx, owner, subnets)
  for (const wish of wishes) await giveOne(tx, owner, subnets, wish)
}

async function giveUsual(tx: Tx, owner: AddressOwner, subnets: Row<'subnets'>[]): Promise<void> {
  for (const version of [4, 6]) {
    const pooled = subnets.filter((subnet) => subnet.ipVersion === version && !isAutomatic(subnet))
    if (pooled.length > 0) await takeFromFirst(tx, owner, pooled)
  }
  for (const subnet of subnets.filter(isAutomatic)) await giveAutomatic(tx, owner, subnet)
}

async function giveOne(tx: Tx, owner: AddressOwner, subnets: Row<'subnets'>[], wish: FixedIpWish): Promise<void> {
  const { subnetId, ipAddress } = wish
  const named = subnets.find(({ id }) => id === subnetId)
  if (subnetId !== undefined && !named) {
    throw networkError('InvalidInput', `Subnet ${subnetId} is not on network ${owner.network.id}.`)
  }
  if (ipAddress !== undefined) return giveCertain(tx, owner, named ? [named] : subnets, ipAddress)
  if (named && isAutomatic(named)) return giveAutomatic(tx, owner, named)
  await takeFromFirst(tx, owner, named ? [named] : subnets.filter(({ ipVersion }) => ipVersion === 4))
}

async function giveCertain(tx: Tx, owner: AddressOwner, subnets: Row<'subnets'>[], text: string): Promise<void> {
  const address = readAddress(text)
  const ipAddress = formatAddress(address)
  const [only] = subnets
  const subnet = subnets.find(({ cidr }) => contains(parseNetwork(cidr), address))
  if (!subnet) {
    throw subnets.length === 1 && only
      ? networkError('InvalidIpForSubnet', `Address ${ipAddress} is not in subnet ${only.id} (${only.cidr}).`)
      : networkError('InvalidIpForNetwork', `Address ${ipAddress} is in no subnet of network ${owner.network.id}.`)
  }
  const range = hostRange(parseNetwork(subnet.cidr))
  if (address.value < range.first || address.value > range.last) {
    throw networkError('InvalidIpForSubnet', `Address ${ipAddress} is in subnet ${subnet.id}, but no card can have it.`)
  }
  const isService = owner.deviceOwner.startsWith('network:')
  if (isAutomatic(subnet) && !isService && ipAddress !== autoAddress(parseNetwork(subnet.cidr), owner.macAddress)) {
    const message = `Cards on subnet ${subnet.id} make their own addresses; ${ipAddress} cannot be given to one.`
    throw networkError('InvalidInput', message)
  }
  assertNotGateway(owner, subnet, ipAddress)
  if (await takeAddress(tx, subnet.id, ipAddress, owner.portId)) return
  const message = `Address ${ipAddress} is already in use on subnet ${subnet.id}.`
  throw networkError('IpAddressAlreadyAllocated', message)
}

/** Who had the gateway's address would get the traffic of all others; only the network's owner may make a router of it. */
function assertNotGateway(
  { network, projectId, deviceOwner }: AddressOwner,
  subnet: Row<'subnets'>,
  ipAddress: string,
) {
  if (ipAddress !== subnet.gatewayIp || deviceOwner.startsWith('network:')) return
  if (projectId === network.projectId && !deviceOwner.startsWith('compute:')) return
  throw networkError('InvalidIpForSubnet', `Address ${ipAddress} is the gateway of subnet ${subnet.id}.`)
}

/** The address that the card makes itself. Taken when somebody chose the same MAC's address by hand before. */
export async function giveAutomatic(tx: Tx, owner: AddressOwner, subnet: Row<'subnets'>): Promise<void> {
  const ipAddress = autoAddress(parseNetwork(subnet.cidr), owner.macAddress)
  if (await takeAddress(tx, subnet.id, ipAddress, owner.portId)) return
  throw networkError('IpAddressAlreadyAllocated', `Address ${ipAddress} is already in use on subnet ${subnet.id}.`)
}

async function takeFromFirst(tx: Tx, owner: AddressOwner, subnets: Row<'subnets'>[]): Promise<void> {
  for (const subnet of subnets) if (await takeAnyAddress(tx, subnet, owner.portId)) return
  const where = subnets.length === 1 ? `subnet ${subnets[0]?.id} of network` : 'network'
  throw networkError('IpAddressGenerationFailure', `No more addresses are free on ${where} ${owner.network.id}.`)
}

/** @returns false when somebody has it. */
async function takeAddress(tx: Tx, subnetId: string, ipAddress: string, portId: string): Promise<boolean> {
  const { numInsertedOrUpdatedRows } = await tx
    .insertInto('portAddresses')
    .values({ subnetId, ipAddress, portId })
    .onConflict((conflict) => conflict.columns(['subnetId', 'ipAddress']).doNothing())
    .executeTakeFirstOrThrow()
  return numInsertedOrUpdatedRows === 1n
}

/** @returns false when none of the subnet's pools has one left. */
async function takeAnyAddress(tx: Tx, subnet: Row<'subnets'>, portId: string): Promise<boolean> {
  const { total, nth } = readPools(subnet)
  if (total === 0n) return false
  for (let pick = 0; pick < PICKS; pick++) {
    if (await takeAddress(tx, subnet.id, nth(randomBelow(total)), portId)) return true
  }
  return takeLowestAddress(tx, subnet, portId)
}

/** The first that is free: for services, whose addresses people like to know. False when none is. */
export async function takeLowestAddress(tx: Tx, subnet: Row<'subnets'>, portId: string): Promise<boolean> {
  const { total, nth } = readPools(subnet)
  const rows = await tx.selectFrom('portAddresses').select('ipAddress').where('subnetId', '=', subnet.id).execute()
  const taken = new Set(rows.map(({ ipAddress }) => ipAddress))
  for (let n = 0n; n < total; n++) {
    const ipAddress = nth(n)
    if (!taken.has(ipAddress) && (await takeAddress(tx, subnet.id, ipAddress, portId))) return true
  }
  return false
}

/** All addresses of a subnet's pools, counted through from 0. */
function readPools({ allocationPools, ipVersion: version }: Row<'subnets'>) {
  const pools = (JSON.parse(allocationPools) as { start: string; end: string }[]).map(({ start, end }) => {
    const first = parseAddress(start).value
    return { first, size: parseAddress(end).value - first + 1n }
  })
  const total = pools.reduce((sum, pool) => sum + pool.size, 0n)
  const nth = (n: bigint): string => {
    let left = n
    for (const pool of pools) {
      if (left < pool.size) return formatAddress({ version, value: pool.first + left })
      left -= pool.size
    }
    throw new RangeError('The allocation pools end before this address.')
  }
  return { total, nth }
}

/** 128 random bits more than any subnet needs make every number as likely. */
const randomBelow = (limit: bigint): bigint => BigInt(`0x${randomBytes(32).toString('hex')}`) % limit

function readAddress(text: string) {
  try {
    return parseAddress(text)
  } catch (cause) {
    throw networkError('InvalidInput', `Address '${text}' is not a valid IP address.`, { cause })
  }
}
