/** What a namespace should hold, what it holds, and the `ip` commands between the two. Pure. */
import type { NetworkPlan, PortPlan } from '../host-driver.ts'
import { formatIpv4, parseIpv4, parsePrefix } from './ipv4.ts'
import { BRIDGE, bridgeMac, METADATA_ADDRESS, TAP_PREFIX, tapName } from './names.ts'

/** One device as `ip -j addr show` tells it; only what is read here. */
export interface ObservedLink {
  ifname: string
  mtu: number
  master?: string
  flags: string[]
  addr_info: { family: string; local?: string; prefixlen?: number }[]
}

/** Owner of the taps: who may attach to them without rights over the network. */
export interface TapUser {
  uid: number
  gid: number
}

/** The IPv4 addresses of the bridge with their prefix length: DHCP's in each subnet, and the metadata service's. */
export function bridgeAddresses(network: NetworkPlan): string[] {
  const served = network.subnets.flatMap(({ ipVersion, dhcpAddress, cidr }) =>
    ipVersion === 4 && dhcpAddress !== null ? [`${formatIpv4(parseIpv4(dhcpAddress))}/${parsePrefix(cidr).bits}`] : [],
  )
  return [...served, `${METADATA_ADDRESS}/32`]
}

/**
 * Lines for `ip -batch`, none when all is so already. Rebuilds whatever was taken away by hand, takes away addresses and
 * taps that no plan names, and leaves other devices alone.
 */
export function planLinks(
  network: NetworkPlan,
  ports: readonly PortPlan[],
  observed: readonly ObservedLink[],
  user: TapUser,
): string[] {
  const links = new Map(observed.map((link) => [link.ifname, link]))
  const taps = new Set(ports.map(({ portId }) => tapName(portId)))
  return [
    ...(isUp(links.get('lo')) ? [] : ['link set lo up']),
    ...planBridge(network, links.get(BRIDGE)),
    ...[...taps].flatMap((tap) => planTap(tap, network.mtu, links.get(tap), links.has(BRIDGE), user)),
    ...observed.flatMap(({ ifname }) =>
      ifname.startsWith(TAP_PREFIX) && !taps.has(ifname) ? [`link delete ${ifname}`] : [],
    ),
  ]
}

function planBridge(network: NetworkPlan, bridge: ObservedLink | undefined): string[] {
  const mtu = safeMtu(network.mtu)
  const wanted = bridgeAddresses(network)
  const present = (bridge?.addr_info ?? [])
    .filter(({ family }) => family === 'inet')
    .map(({ local, prefixlen }) => `${local}/${prefixlen}`)
  return [
    ...(bridge ? [] : [`link add ${BRIDGE} address ${bridgeMac(network.networkId)} type bridge`]),
    ...(bridge?.mtu === mtu && isUp(bridge) ? [] : [`link set ${BRIDGE} mtu ${mtu} up`]),
    ...present.filter((address) => !wanted.includes(address)).map((address) => `addr del ${address} dev ${BRIDGE}`),
    ...wanted.filter((address) => !present.includes(address)).map((address) => `addr add ${address} dev ${BRIDGE}`),
  ]
}

function planTap(tap: string, mtu: number, link: ObservedLink | undefined, bridged: boolean, user: TapUser): string[] {
  const isRight = link && bridged && link.master === BRIDGE && link.mtu === mtu && isUp(link)
  if (isRight) return []
  return [
    ...(link ? [] : [`tuntap add dev ${tap} mode tap user ${user.uid} group ${user.gid}`]),
    `link set ${tap} mtu ${safeMtu(mtu)} master ${BRIDGE} up`,
  ]
}

const isUp = (link: ObservedLink | undefined): boolean => link?.flags.includes('UP') ?? false

function safeMtu(mtu: number): number {
  if (!Number.isInteger(mtu) || mtu < 68 || mtu > 65_535) throw new Error(`Not an MTU: ${mtu}`)
  return mtu
}
