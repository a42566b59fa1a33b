/** What dnsmasq is given for a network: arguments, host reservations and options. Pure. */
import { join } from 'node:path'
import type { NetworkPlan, SubnetPlan } from '../host-driver.ts'
import { safeOptionName, safeOptionValues } from './dhcp-option.ts'
import type { HeldPort } from './held-port.ts'
import { contains, formatIpv4, formatPrefix, maskOf, parseIpv4, parseMac, parsePrefix } from './ipv4.ts'
import { formatIpv6, parseIpv6, parsePrefix6 } from './ipv6.ts'
import { BRIDGE, METADATA_ADDRESS } from './names.ts'

/** How long a guest may use its address before it asks again, in seconds. */
const LEASE_S = 86_400

export interface DhcpFiles {
  hosts: string
  options: string
  leases: string
  pid: string
}

export interface DhcpConfig {
  /** The whole command line after the program; when it changes, dnsmasq is started anew. */
  args: string[]
  /** Text of the hosts file and of the options file, both read again on SIGHUP. */
  hosts: string
  options: string
  /** Whose each reserved address is: address → MAC. */
  reservations: Map<string, string>
}

/** dnsmasq's files in the directory of a network; absolute, since it changes its own directory. */
export const dhcpFiles = (directory: string): DhcpFiles => ({
  hosts: join(directory, 'dhcp-hosts'),
  options: join(directory, 'dhcp-options'),
  leases: join(directory, 'dhcp-leases'),
  pid: join(directory, 'dnsmasq.pid'),
})

/** Undefined when no subnet of the network has DHCP. One dnsmasq serves all subnets of a network. */
export function planDhcp(
  network: NetworkPlan,
  ports: readonly HeldPort[],
  files: DhcpFiles,
  user: { name: string; group: string },
): DhcpConfig | undefined {
  const custom = ports.flatMap(portOptionLines) // first: what cannot be served is refused with DHCP or without
  if (network.isExternal) return undefined
  const subnets = network.subnets
    .filter((subnet) => subnet.dhcpAddress !== null && (subnet.ipVersion === 4 || subnet.ipv6Mode !== null))
    .toSorted((a, b) => (a.subnetId < b.subnetId ? -1 : 1))
  if (subnets.length === 0) return undefined
  const hosts = ports.flatMap((port) => hostLines(port, subnets)).sort((a, b) => (a.line < b.line ? -1 : 1))
  const options = subnets.flatMap((subnet, index) =>
    subnet.ipVersion === 4 ? optionLines(subnet, index, network.mtu) : optionLines6(subnet, index),
  )
  return {
    args: [
      ...fixedArgs(files, user),
      ...advertisingArgs(subnets, network.mtu),
      ...subnets.map(rangeArg),
      ...ports.flatMap(tagArg),
    ],
    hosts: hosts.map(({ line }) => `${line}\n`).join(''),
    options: [...options, ...custom].join(''),
    reservations: new Map(hosts.map(({ address, mac }) => [address, mac])),
  }
}

function fixedArgs(files: DhcpFiles, user: { name: string; group: string }): string[] {
  return [
    '--conf-file=/dev/null',
    '--no-hosts',
    '--no-resolv',
    '--port=0', // no DNS: guests ask the servers their subnet names
    `--interface=${BRIDGE}`,
    '--bind-dynamic',
    '--dhcp-authoritative',
    '--dhcp-ignore=tag:!known',
    '--dhcp-lease-max=65536', // the default, 1000, is less than a /22
    '--quiet-dhcp', // a guest could fill the log by asking
    `--dhcp-hostsfile=${files.hosts}`,
    `--dhcp-optsfile=${files.options}`,
    `--dhcp-leasefile=${files.leases}`,
    `--pid-file=${files.pid}`,
    `--user=${user.name}`,
    `--group=${user.group}`,
  ]
}

/** How often routers' advertisements are sent without being asked for, in seconds. */
const ADVERTISED_EVERY_S = 600

/** With a router lifetime of 0: it says what the subnets are, and is no way out of them. That is for a router to say. */
function advertisingArgs(subnets: SubnetPlan[], mtu: number): string[] {
  if (!subnets.some(({ ipVersion }) => ipVersion === 6)) return []
  return ['--enable-ra', `--ra-param=${BRIDGE},mtu:${mtu},${ADVERTISED_EVERY_S},0`, '--quiet-ra', '--quiet-dhcp6']
}

const tagOf = (index: number): string => `s${index}`

/** How dnsmasq calls what it does for a subnet of IPv6; `static`: DHCPv6 with addresses that are reserved. */
const MODES_6 = { slaac: 'ra-only', 'dhcpv6-stateless': 'ra-stateless', 'dhcpv6-stateful': 'static' } as const

function rangeArg(subnet: SubnetPlan, index: number): string {
  if (subnet.ipVersion === 6) {
    const { address, bits } = parsePrefix6(subnet.cidr)
    const mode = MODES_6[subnet.ipv6Mode ?? 'slaac']
    return `--dhcp-range=set:${tagOf(index)},${formatIpv6(address)},${mode},${bits},${LEASE_S}`
  }
  const { address, bits } = parsePrefix(subnet.cidr)
  return `--dhcp-range=set:${tagOf(index)},${formatIpv4(address)},static,${formatIpv4(maskOf(bits))},${LEASE_S}`
}

/** One reservation for each subnet the port has an address in; its further addresses are for the guest to set itself. */
function hostLines(port: HeldPort, subnets: SubnetPlan[]): { line: string; address: string; mac: string }[] {
  const mac = parseMac(port.macAddress)
  const name = safeHostName(port.hostName)
  return subnets.flatMap((subnet) => {
    const mine = port.addresses.find(({ subnetId }) => subnetId === subnet.subnetId)
    if (!mine) return []
    const [address, written] =
      subnet.ipVersion === 4 ? plain(formatIpv4(parseIpv4(mine.ipAddress))) : bracketed(mine.ipAddress)
    return [{ line: [mac, written, ...(name ? [name] : [])].join(','), address, mac }]
  })
}

const plain = (address: string) => [address, address] as const

/** An IPv6 address, and as dnsmasq takes it in a list. */
function bracketed(text: string): readonly [string, string] {
  const address = formatIpv6(parseIpv6(text))
  return [address, `[${address}]`]
}

const portTag = ({ number }: HeldPort): string => `p${number}`

/**
 * The tag of a port with options of its own. Not in the hosts file, though it could stand there: dnsmasq 2.90, which is
 * Debian 12's, then crashes when it reads that file again.
 */
const tagArg = (port: HeldPort): string[] =>
  port.dhcpOptions.length > 0 ? [`--dhcp-mac=set:${portTag(port)},${parseMac(port.macAddress)}`] : []

/** Options of one port outrank those of its subnet: dnsmasq prefers what a host's tag names. */
function portOptionLines(port: HeldPort): string[] {
  return port.dhcpOptions.map((option) => {
    const name = safeOptionName(option.name)
    const written = option.ipVersion === 6 ? `option6:${name}` : /^\d/.test(name) ? name : `option:${name}`
    return `${[`tag:${portTag(port)}`, written, ...safeOptionValues(option)].join(',')}\n`
  })
}

/** The first label of a host name when it is one; the only text of a user here. */
function safeHostName(name: string): string | undefined {
  return /^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?=\.|$)/.exec(name)?.[0]
}

function optionLines(subnet: SubnetPlan, index: number, mtu: number): string[] {
  const option = (code: number, values: string[]) => `tag:${tagOf(index)},${[code, ...values].join(',')}\n`
  const gateway = subnet.gatewayIp === null ? undefined : formatIpv4(parseIpv4(subnet.gatewayIp))
  const servers = subnet.dnsNameservers.filter((server) => !server.includes(':'))
  return [
    option(3, gateway ? [gateway] : []), // without a value: none, instead of dnsmasq itself
    option(121, classlessRoutes(subnet, gateway)),
    option(26, [String(mtu)]),
    ...(servers.length > 0
      ? [
          option(
            6,
            servers.map((server) => formatIpv4(parseIpv4(server))),
          ),
        ]
      : []),
  ]
}

function optionLines6(subnet: SubnetPlan, index: number): string[] {
  const servers = subnet.dnsNameservers.filter((server) => server.includes(':')).map((server) => bracketed(server)[1])
  return servers.length > 0 ? [`tag:${tagOf(index)},option6:23,${servers.join(',')}\n`] : []
}

/** Who understands this option ignores the gateway of option 3, so the default route is among them. */
function classlessRoutes(subnet: SubnetPlan, gateway: string | undefined): string[] {
  const own = parsePrefix(subnet.cidr)
  const viaDhcp = formatIpv4(parseIpv4(subnet.dhcpAddress ?? ''))
  const routes = subnet.hostRoutes
    .filter(({ destination }) => !destination.includes(':'))
    .map(({ destination, nexthop }) => ({ to: parsePrefix(destination), via: formatIpv4(parseIpv4(nexthop)) }))
    .filter(({ to }) => !contains(own, to))
    .flatMap(({ to, via }) => [to.bits === 32 ? `${formatPrefix(to)}/32` : formatPrefix(to), via])
  return [`${METADATA_ADDRESS}/32`, viaDhcp, ...routes, ...(gateway ? ['0.0.0.0/0', gateway] : [])]
}

/**
 * The lease file without leases that stand in the way of a reservation: the same address, given to another card
 * before. dnsmasq would refuse the address to its new owner until the old lease ends. Leases of IPv6 do not name the
 * card, so those go whose address is reserved for nobody. The same text when none goes.
 */
export function dropStaleLeases(leases: string, reservations: ReadonlyMap<string, string>): string {
  return leases
    .split('\n')
    .filter((line) => {
      const [, mac = '', address = ''] = line.split(' ')
      const owner = reservations.get(address)
      return address.includes(':') ? owner !== undefined : owner === undefined || owner === mac
    })
    .join('\n')
}
