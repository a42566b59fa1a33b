/** What a namespace should hold, what it holds, and the `ip` commands between the two. Pure. */
import type { NetworkPlan } from '../host-driver.ts'
import { formatIpv4, parseIpv4, parsePrefix } from './ipv4.ts'
import { formatIpv6, parseIpv6, parsePrefix6 } from './ipv6.ts'
import { BRIDGE, bridgeMac, METADATA_ADDRESS, TAP_PREFIX, tapName } from './names.ts'
import { ROUTER_END_PREFIX } from './router-ends.ts'

/** One device as `ip -j addr show` tells it; only what is read here. */
export interface ObservedLink {
  ifindex?: number
  ifname: string
  mtu: number
  address?: string
  master?: string
  flags: string[]
  addr_info: { family: string; local?: string; prefixlen?: number; scope?: string }[]
}

/** Owner of the taps: who may attach to them without rights over the network. */
export interface TapUser {
  uid: number
  gid: number
}

/** The devices of a network, beside its bridge. */
export interface LinkPlan {
  network: NetworkPlan
  portIds: Iterable<string>
  /** Router's ends: put on the bridge where they are, never made. */
  ends: ReadonlySet<string>
  /** Whether the bridge was told to speak IPv6, and so can have addresses of it. */
  speaksIpv6: boolean
}

/** The addresses of the bridge with their prefix length: DHCP's in each subnet, and the metadata service's. */
export function bridgeAddresses({ isExternal, subnets }: NetworkPlan): string[] {
  if (isExternal) return []
  const served = subnets.flatMap(({ ipVersion, dhcpAddress, cidr }) => {
    if (dhcpAddress === null) return []
    return ipVersion === 4
      ? [`${formatIpv4(parseIpv4(dhcpAddress))}/${parsePrefix(cidr).bits}`]
      : [`${formatIpv6(parseIpv6(dhcpAddress))}/${parsePrefix6(cidr).bits}`]
  })
  return [...served, `${METADATA_ADDRESS}/32`]
}

/**
 * Lines for `ip -batch`, none when all is so already. Rebuilds whatever was taken away by hand, takes away addresses,
 * taps and router's ends that no plan names, and leaves other devices alone. IPv6 addresses wait until the bridge
 * speaks it; that is a setting of the kernel and no command of `ip`.
 */
export function planLinks(
  { network, portIds, ends, speaksIpv6 }: LinkPlan,
  observed: readonly ObservedLink[],
  user: TapUser,
): string[] {
  const links = new Map(observed.map((link) => [link.ifname, link]))
  const taps = new Set([...portIds].map(tapName))
  const isOurs = (name: string) => name.startsWith(TAP_PREFIX) || name.startsWith(ROUTER_END_PREFIX)
  return [
    ...(isUp(links.get('lo')) ? [] : ['link set lo up']),
    ...planBridge(network, links.get(BRIDGE), speaksIpv6),
    ...[...taps].flatMap((tap) => [
      ...(links.has(tap) ? [] : [`tuntap add dev ${tap} mode tap user ${user.uid} group ${user.gid}`]),
      ...planMember(tap, network.mtu, links.get(tap), links.has(BRIDGE)),
    ]),
    ...[...ends].flatMap((end) =>
      links.has(end) ? planMember(end, network.mtu, links.get(end), links.has(BRIDGE)) : [],
    ),
    ...[...links.keys()]
      .filter((name) => isOurs(name) && !taps.has(name) && !ends.has(name))
      .map((name) => `link delete ${name}`),
  ]
}

function planBridge(network: NetworkPlan, bridge: ObservedLink | undefined, hasIpv6: boolean): string[] {
  const mtu = safeMtu(network.mtu)
  const mac = bridgeMac(network.networkId)
  const wanted = bridgeAddresses(network).filter((address) => hasIpv6 || !address.includes(':'))
  const present = (bridge?.addr_info ?? [])
    .filter(({ family, scope }) => family === 'inet' || (family === 'inet6' && scope === 'global'))
    .map(({ local, prefixlen }) => `${local}/${prefixlen}`)
  const isMoved = bridge?.address !== undefined && bridge.address !== mac
  return [
    // Without snooping: nobody here asks who listens, and neighbours are found by multicast in IPv6.
    ...(bridge ? [] : [`link add ${BRIDGE} address ${mac} type bridge mcast_snooping 0`]),
    ...(isMoved ? [`link set ${BRIDGE} address ${mac}`] : []),
    ...(bridge?.mtu === mtu && isUp(bridge) ? [] : [`link set ${BRIDGE} mtu ${mtu} up`]),
    ...present.filter((address) => !wanted.includes(address)).map((address) => `addr del ${address} dev ${BRIDGE}`),
    ...wanted
      .filter((address) => !present.includes(address))
      .map((address) => `addr add ${address} dev ${BRIDGE}${address.includes(':') ? ' nodad' : ''}`),
  ]
}

/** A device of the bridge that is there by now. */
function planMember(name: string, mtu: number, link: ObservedLink | undefined, bridged: boolean): string[] {
  const isRight = link && bridged && link.master === BRIDGE && link.mtu === mtu && isUp(link)
  return isRight ? [] : [`link set ${name} mtu ${safeMtu(mtu)} master ${BRIDGE} up`]
}

const isUp = (link: ObservedLink | undefined): boolean => link?.flags.includes('UP') ?? false

function safeMtu(mtu: number): number {
  if (!Number.isInteger(mtu) || mtu < 68 || mtu > 65_535) throw new Error(`Not an MTU: ${mtu}`)
  return mtu
}
