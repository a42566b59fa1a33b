/**
 * Router advertisements: guests on networks with IPv6 learn their default route, and with SLAAC their prefix, from the
 * router itself. A dnsmasq that does nothing else; addresses by DHCPv6 come from the network's own. Pure.
 *
 * Only the router that has a subnet's gateway address speaks: anybody may join a shared network with a router of their
 * own by some other address, and who advertises gets everybody's traffic.
 */
import { isIPv6 } from 'node:net'
import { join } from 'node:path'
import type { SubnetPlan } from '../host-driver.ts'
import { formatAddress, parseAddress, parseNetwork } from './router-addresses.ts'
import type { RouterDesign } from './router-design.ts'

/** How dnsmasq names what a subnet's guests are told: to make an address themselves, to ask for the rest, or for all. */
const MODES = { slaac: 'ra-only', 'dhcpv6-stateless': 'ra-stateless', 'dhcpv6-stateful': 'static' } as const

/** Its arguments; undefined when no network of the router wants to be told. */
export function planAdvertisements(
  design: RouterDesign,
  directory: string,
  user: { name: string; group: string },
): string[] | undefined {
  if (!design.isUp) return undefined
  const told = design.devices
    .filter(({ isGateway }) => !isGateway)
    .map(({ name, network, addresses }) => ({
      name,
      subnets: network.subnets.filter((subnet) => isTold(subnet) && isGatewayOf(subnet, addresses)),
    }))
    .filter(({ subnets }) => subnets.length > 0)
  if (told.length === 0) return undefined
  return [
    '--conf-file=/dev/null',
    '--no-hosts',
    '--no-resolv',
    '--port=0',
    '--bind-dynamic',
    '--enable-ra',
    '--quiet-ra',
    '--quiet-dhcp6',
    '--leasefile-ro',
    `--pid-file=${advertiserPidFile(directory)}`,
    `--user=${user.name}`,
    `--group=${user.group}`,
    ...told.map(({ name }) => `--interface=${name}`),
    ...told.flatMap(({ subnets }) => subnets).flatMap(subnetArgs),
  ]
}

export const advertiserPidFile = (directory: string): string => join(directory, 'advertiser.pid')

const isTold = ({ ipVersion, ipv6Mode }: SubnetPlan): boolean => ipVersion === 6 && ipv6Mode !== null

const isGatewayOf = ({ gatewayIp, cidr }: SubnetPlan, addresses: readonly string[]): boolean =>
  gatewayIp !== null && addresses.includes(`${formatAddress(parseAddress(gatewayIp))}/${parseNetwork(cidr).bits}`)

function subnetArgs(subnet: SubnetPlan, index: number): string[] {
  const network = parseNetwork(subnet.cidr)
  const mode = MODES[subnet.ipv6Mode ?? 'slaac']
  const servers = subnet.dnsNameservers
    .filter((server) => isIPv6(server))
    .map((server) => `[${formatAddress(parseAddress(server))}]`)
  return [
    `--dhcp-range=set:s${index},${formatAddress(network)},${mode},${network.bits}`,
    ...(servers.length > 0 ? [`--dhcp-option=tag:s${index},option6:dns-server,${servers.join(',')}`] : []),
  ]
}
