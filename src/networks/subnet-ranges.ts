/** What may stand in a subnet: its size, its gateway, its pools. Pure: decides on values, asks nobody. */
import {
  contains,
  formatAddress,
  formatNetwork,
  hostRange,
  type IpAddress,
  type IpNetwork,
  type IpVersion,
  overlaps,
  parseAddress,
  parseNetwork,
} from '../lib/ip.ts'
import { networkError } from '../network-api/network-errors.ts'

/** Addresses that cards get by themselves: from `start` to `end`, both included. */
export interface Pool {
  start: string
  end: string
}

/** The sizes a subnet may have. A smaller one has no place for a gateway and a card; a larger one is no tenant's. */
const PREFIXES = { 4: { least: 8, most: 30 }, 6: { least: 32, most: 126 } } as const
/** Where a card makes its own address, the second half of it is the card's. */
const AUTOMATIC_PREFIX = 64
/** Addresses that mean something else wherever they stand; 169.254.0.0/16 has the metadata service. */
const RESERVED = ['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/3', '::/8', 'fe80::/10', 'ff00::/8'].map(
  parseNetwork,
)

/**
 * Reads a subnet's addresses; bits of a host in it are cleared.
 * @throws ApiError InvalidInput saying what is wrong with them.
 */
export function readCidr(text: string, version: IpVersion, isAutomatic: boolean): IpNetwork {
  const network = readNetwork(text, 'cidr')
  const cidr = formatNetwork(network)
  if (network.version !== version) throw invalid(`The cidr ${cidr} does not match the ip_version ${version}.`)
  const { least, most } = PREFIXES[version]
  if (network.prefix < least || network.prefix > most) {
    throw invalid(`The cidr ${cidr} must have a prefix of ${least} to ${most}.`)
  }
  if (isAutomatic && network.prefix !== AUTOMATIC_PREFIX) {
    throw invalid(`The cidr ${cidr} must have a prefix of 64: cards make the other half of their addresses themselves.`)
  }
  const reserved = RESERVED.find((one) => overlaps(one, network))
  if (reserved) throw invalid(`The cidr ${cidr} overlaps ${formatNetwork(reserved)}, which is not for subnets.`)
  return network
}

/** The gateway of who names none: the first address a card could have. */
export const usualGateway = (network: IpNetwork): string =>
  formatAddress({ version: network.version, value: hostRange(network).first })

/** The pools of who names none: all that cards could have but the gateway, lowest first. */
export function usualPools(network: IpNetwork, gatewayIp: string | null): Pool[] {
  const { first, last } = hostRange(network)
  const gateway = gatewayIp === null ? undefined : parseAddress(gatewayIp).value
  const ranges =
    gateway === undefined || gateway < first || gateway > last
      ? [{ first, last }]
      : [
          { first, last: gateway - 1n },
          { first: gateway + 1n, last },
        ]
  const { version } = network
  return ranges
    .filter((range) => range.first <= range.last)
    .map((range) => ({
      start: formatAddress({ version, value: range.first }),
      end: formatAddress({ version, value: range.last }),
    }))
}

/**
 * Reads a gateway.
 * @throws ApiError InvalidInput when no card on the subnet could have this address.
 */
export function readGateway(text: string, network: IpNetwork): string {
  const address = readAddress(text, 'gateway_ip')
  const range = hostRange(network)
  // In IPv6 a subnet's own address belongs to all its routers, so one of them may be named by it.
  const isHost = address.value <= range.last && (network.version === 6 || address.value >= range.first)
  if (!contains(network, address) || !isHost) {
    throw invalid(`The gateway_ip ${formatAddress(address)} is no address of a card in ${formatNetwork(network)}.`)
  }
  return formatAddress(address)
}

/**
 * Reads pools, lowest first.
 * @throws ApiError InvalidAllocationPool, OutOfBoundsAllocationPool, OverlappingAllocationPools,
 * GatewayConflictWithAllocationPools.
 */
export function readPools(pools: readonly Pool[], network: IpNetwork, gatewayIp: string | null): Pool[] {
  const ranges = pools.map(({ start, end }) => readRange(start, end, network))
  ranges.sort((a, b) => (a.first < b.first ? -1 : 1))
  const overlap = ranges.find((range, index) => index > 0 && range.first <= (ranges[index - 1]?.last ?? -1n))
  if (overlap) {
    const message = `Found overlapping allocation pools: ${overlap.text} overlaps another one.`
    throw networkError('OverlappingAllocationPools', message)
  }
  assertOutsidePools(
    gatewayIp,
    ranges.map(({ start, end }) => ({ start, end })),
  )
  return ranges.map(({ start, end }) => ({ start, end }))
}

/** @throws ApiError GatewayConflictWithAllocationPools when a card could be given the gateway's address. */
export function assertOutsidePools(gatewayIp: string | null, pools: readonly Pool[]): void {
  if (gatewayIp === null) return
  const gateway = parseAddress(gatewayIp).value
  const pool = pools.find(
    ({ start, end }) => parseAddress(start).value <= gateway && gateway <= parseAddress(end).value,
  )
  if (!pool) return
  const message = `Gateway ip ${gatewayIp} conflicts with allocation pool ${pool.start}-${pool.end}.`
  throw networkError('GatewayConflictWithAllocationPools', message)
}

function readRange(start: string, end: string, network: IpNetwork) {
  const text = `${start}-${end}`
  const addresses = [start, end].map((one) => tryAddress(one))
  const [first, last] = addresses
  const isRange = first && last && first.version === network.version && last.version === network.version
  if (!isRange || first.value > last.value) {
    throw networkError('InvalidAllocationPool', `The allocation pool ${text} is not valid.`)
  }
  const range = hostRange(network)
  if (first.value < range.first || last.value > range.last) {
    const message = `The allocation pool ${text} spans beyond the subnet cidr ${formatNetwork(network)}.`
    throw networkError('OutOfBoundsAllocationPool', message)
  }
  return { first: first.value, last: last.value, start: formatAddress(first), end: formatAddress(last), text }
}

/** Host routes, each once. @throws ApiError InvalidInput for what is no route of this version. */
export function readHostRoutes(
  routes: readonly { destination: string; nexthop: string }[],
  version: IpVersion,
): { destination: string; nexthop: string }[] {
  const read = routes.map(({ destination, nexthop }) => {
    const [to, via] = [readNetwork(destination, 'host_routes'), readAddress(nexthop, 'host_routes')]
    if (to.version !== version || via.version !== version) {
      throw invalid(`The host route to ${destination} via ${nexthop} is not of ip_version ${version}.`)
    }
    return { destination: formatNetwork(to), nexthop: formatAddress(via) }
  })
  if (new Set(read.map(({ destination, nexthop }) => `${destination} ${nexthop}`)).size < read.length) {
    throw invalid('The same host route is named twice.')
  }
  return read
}

/** Name servers, each once. @throws ApiError InvalidInput for what is no address. */
export function readNameservers(servers: readonly string[]): string[] {
  const read = servers.map((server) => formatAddress(readAddress(server, 'dns_nameservers')))
  if (new Set(read).size < read.length) throw invalid('The same name server is named twice.')
  return read
}

function tryAddress(text: string): IpAddress | undefined {
  try {
    return parseAddress(text)
  } catch {
    return undefined
  }
}

function readAddress(text: string, member: string): IpAddress {
  const address = tryAddress(text)
  if (address) return address
  throw invalid(`Invalid input for ${member}. Reason: '${text}' is not a valid IP address.`)
}

function readNetwork(text: string, member: string): IpNetwork {
  try {
    return parseNetwork(text)
  } catch (cause) {
    const message = `Invalid input for ${member}. Reason: '${text}' is not a valid IP subnet.`
    throw networkError('InvalidInput', message, { cause })
  }
}

const invalid = (message: string) => networkError('InvalidInput', message)
