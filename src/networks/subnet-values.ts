/** What the body of a subnet says, as columns. Pure but for the errors it throws. */
import type { Row } from '../db/schema.ts'
import { formatNetwork, parseNetwork } from '../lib/ip.ts'
import type { Values } from '../network-api/attributes.ts'
import { networkError } from '../network-api/network-errors.ts'
import type { SUBNET_CHANGES, SUBNET_FIRST } from './subnet-attributes.ts'
import {
  assertOutsidePools,
  type Pool,
  readCidr,
  readGateway,
  readHostRoutes,
  readNameservers,
  readPools,
  usualGateway,
  usualPools,
} from './subnet-ranges.ts'

export type SubnetWish = Values<typeof SUBNET_FIRST & typeof SUBNET_CHANGES>
export type SubnetChange = Values<typeof SUBNET_CHANGES>

/** The DHCP service of hosts does not start for a larger subnet, and then serves the others of the network neither. */
const SERVED_PREFIX_6 = 64

type Modes = Pick<Row<'subnets'>, 'ipv6RaMode' | 'ipv6AddressMode'>

/**
 * A new subnet.
 * @throws ApiError as subnet-ranges.ts; HTTPBadRequest when there is nothing to tell its addresses by.
 */
export function readSubnet(wish: SubnetWish) {
  if (wish.cidr === undefined) {
    throw networkError('HTTPBadRequest', 'A subnet needs a cidr; this cloud has no pools of subnets.')
  }
  const ipVersion = readVersion(wish)
  const hasDhcp = wish.enable_dhcp !== false
  const modes = readModes(wish, ipVersion, hasDhcp)
  const network = readCidr(wish.cidr, ipVersion, isAutomatic(modes))
  if ((modes.ipv6AddressMode ?? modes.ipv6RaMode) !== null && network.prefix < SERVED_PREFIX_6) {
    const message = `The cidr ${formatNetwork(network)} must have a prefix of at least ${SERVED_PREFIX_6} for DHCPv6.`
    throw networkError('InvalidInput', message)
  }
  const gatewayIp =
    wish.gateway_ip === undefined
      ? usualGateway(network)
      : wish.gateway_ip === null
        ? null
        : readGateway(wish.gateway_ip, network)
  const pools = wish.allocation_pools
    ? readPools(wish.allocation_pools, network, gatewayIp)
    : usualPools(network, gatewayIp)
  return {
    name: wish.name ?? '',
    description: wish.description ?? '',
    cidr: formatNetwork(network),
    ipVersion,
    gatewayIp,
    hasDhcp: hasDhcp ? 1 : 0,
    allocationPools: JSON.stringify(pools),
    dnsNameservers: JSON.stringify(readNameservers(wish.dns_nameservers ?? [])),
    hostRoutes: JSON.stringify(readHostRoutes(wish.host_routes ?? [], ipVersion)),
    serviceTypes: JSON.stringify(wish.service_types ?? []),
    ...modes,
  } as const
}

/** The columns that a change sets. @throws ApiError as `readSubnet`. */
export function readSubnetChange(subnet: Row<'subnets'>, change: SubnetChange): Partial<Row<'subnets'>> {
  const network = parseNetwork(subnet.cidr)
  const gatewayIp =
    change.gateway_ip === undefined || change.gateway_ip === null
      ? change.gateway_ip
      : readGateway(change.gateway_ip, network)
  const gateway = gatewayIp === undefined ? subnet.gatewayIp : gatewayIp
  const pools = change.allocation_pools && readPools(change.allocation_pools, network, gateway)
  if (!pools && gatewayIp) assertOutsidePools(gatewayIp, JSON.parse(subnet.allocationPools) as Pool[])
  if (change.enable_dhcp === false && (subnet.ipv6RaMode ?? subnet.ipv6AddressMode) !== null) throw needsDhcp()
  return {
    ...(change.name === undefined ? {} : { name: change.name }),
    ...(change.description === undefined ? {} : { description: change.description }),
    ...(gatewayIp === undefined ? {} : { gatewayIp }),
    ...(pools ? { allocationPools: JSON.stringify(pools) } : {}),
    ...(change.enable_dhcp === undefined ? {} : { hasDhcp: change.enable_dhcp ? 1 : 0 }),
    ...(change.dns_nameservers ? { dnsNameservers: JSON.stringify(readNameservers(change.dns_nameservers)) } : {}),
    ...(change.host_routes ? { hostRoutes: JSON.stringify(readHostRoutes(change.host_routes, subnet.ipVersion)) } : {}),
    ...(change.service_types ? { serviceTypes: JSON.stringify(change.service_types) } : {}),
  }
}

function readVersion({ ip_version: version }: SubnetWish): 4 | 6 {
  if (version === 4 || version === 6) return version
  throw networkError('HTTPBadRequest', `Invalid input for ip_version. Reason: '${version}' is not 4 or 6.`)
}

function readModes(wish: SubnetWish, ipVersion: 4 | 6, hasDhcp: boolean): Modes {
  const modes = { ipv6RaMode: wish.ipv6_ra_mode ?? null, ipv6AddressMode: wish.ipv6_address_mode ?? null }
  const { ipv6RaMode, ipv6AddressMode } = modes
  if (ipv6RaMode === null && ipv6AddressMode === null) return modes
  const member = ipv6RaMode === null ? 'ipv6_address_mode' : 'ipv6_ra_mode'
  if (ipVersion === 4) throw networkError('InvalidInput', `${member} is not valid when ip_version is 4.`)
  if (!hasDhcp) throw needsDhcp()
  if (ipv6RaMode !== null && ipv6AddressMode !== null && ipv6RaMode !== ipv6AddressMode) {
    const message = `ipv6_ra_mode ${ipv6RaMode} does not go with ipv6_address_mode ${ipv6AddressMode}: both or one.`
    throw networkError('InvalidInput', message)
  }
  return modes
}

const isAutomatic = ({ ipv6RaMode, ipv6AddressMode }: Modes): boolean =>
  [ipv6RaMode, ipv6AddressMode].some((mode) => mode === 'slaac' || mode === 'dhcpv6-stateless')

const needsDhcp = () =>
  networkError('InvalidInput', 'ipv6_ra_mode and ipv6_address_mode cannot be set when enable_dhcp is false.')
