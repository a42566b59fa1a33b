/** What the namespace of a router should hold, from its plan. Pure; every value is read and written anew on the way. */
import type { NetworkPlan, Route, RouterPlan, RouterPortPlan } from '../host-driver.ts'
import { parseMac } from './ipv4.ts'
import {
  formatAddress,
  formatDestination,
  type IpPrefix,
  isInside,
  parseAddress,
  parseNetwork,
} from './router-addresses.ts'
import { endName, gatewayName, interfaceName } from './router-names.ts'

/** One end of a router, and the end of the same cable on the network's bridge. */
export interface RouterDevice {
  portId: string
  name: string
  endName: string
  isGateway: boolean
  mac: string
  mtu: number
  /** With their prefix length, as `ip` prints them. */
  addresses: string[]
  network: NetworkPlan
}

export interface RouterRoute {
  family: 4 | 6
  /** As `ip route` prints it. */
  to: string
  via: string
}

export interface FloatingDesign {
  outside: string
  inside: string
  /** Kbit/s; 0: no limit. */
  rateKbps: number
}

export interface ForwardingDesign {
  protocol: 'tcp' | 'udp'
  outside: string
  outsidePort: number
  inside: string
  insidePort: number
}

export interface RouterDesign {
  isUp: boolean
  devices: RouterDevice[]
  routes: RouterRoute[]
  /** Undefined without a gateway; `address` is its first IPv4 one, undefined when it has none. */
  gateway: { name: string; address: string | undefined; hasSnat: boolean } | undefined
  /** Sorted by the outside address, each of which is there once; IPv4 only; none without a gateway. */
  floating: FloatingDesign[]
  /** Sorted; each outside address, port and protocol once; none without a gateway of IPv4. */
  forwardings: ForwardingDesign[]
}

/** @throws Error when a plan carries an address, a MAC or an MTU that is none; those are bugs of the caller. */
export function designRouter(plan: RouterPlan): RouterDesign {
  const inner = plan.interfaces.map((port) => designDevice(port, false))
  const outer = plan.gateway && designDevice(plan.gateway, true)
  const address = plan.gateway?.addresses
    .map(({ ipAddress }) => parseAddress(ipAddress))
    .find(({ family }) => family === 4)
  const gatewayAddress = address && formatAddress(address)
  const floating = outer ? designFloating(plan) : []
  const forwardings = gatewayAddress === undefined ? [] : designForwardings(plan, gatewayAddress)
  if (outer) {
    const single = [...floating, ...forwardings].map(({ outside }) => outside).filter((text) => text !== gatewayAddress)
    outer.addresses.push(...new Set(single.map((text) => `${text}/32`)))
  }
  const devices = [...inner, ...(outer ? [outer] : [])]
  return {
    isUp: plan.isUp,
    devices,
    routes: designRoutes(plan, devices),
    gateway:
      outer && plan.gateway ? { name: outer.name, address: gatewayAddress, hasSnat: plan.gateway.hasSnat } : undefined,
    floating,
    forwardings,
  }
}

function designDevice(port: RouterPortPlan, isGateway: boolean): RouterDevice {
  const { portId, network } = port
  return {
    portId,
    name: isGateway ? gatewayName(portId) : interfaceName(portId),
    endName: endName(portId),
    isGateway,
    mac: parseMac(port.macAddress),
    mtu: safeMtu(network.mtu),
    addresses: port.addresses.map(({ subnetId, ipAddress }) => {
      const cidr = network.subnets.find((subnet) => subnet.subnetId === subnetId)?.cidr
      if (cidr === undefined) throw new Error(`Port ${portId} has an address of a subnet that its network has not`)
      return `${formatAddress(parseAddress(ipAddress))}/${parseNetwork(cidr).bits}`
    }),
    network,
  }
}

function designFloating(plan: RouterPlan): FloatingDesign[] {
  const byOutside = new Map(
    plan.floatingIps.map(({ ipAddress, fixedIpAddress, rateLimitKbps }) => {
      const outside = ipv4(ipAddress)
      return [outside, { outside, inside: ipv4(fixedIpAddress), rateKbps: safeRate(rateLimitKbps) }]
    }),
  )
  return [...byOutside.values()].sort((a, b) => (a.outside < b.outside ? -1 : 1))
}

function designForwardings(plan: RouterPlan, gatewayAddress: string): ForwardingDesign[] {
  const key = ({ outside, protocol, outsidePort }: ForwardingDesign) => `${outside} ${protocol} ${outsidePort}`
  const byKey = new Map(
    plan.portForwardings.map((one) => {
      const forwarding: ForwardingDesign = {
        protocol: one.protocol === 'udp' ? 'udp' : 'tcp',
        outside: one.outsideAddress === null ? gatewayAddress : ipv4(one.outsideAddress),
        outsidePort: safePort(one.outsidePort),
        inside: ipv4(one.insideAddress),
        insidePort: safePort(one.insidePort),
      }
      return [key(forwarding), forwarding]
    }),
  )
  return [...byKey.values()].sort((a, b) => (key(a) < key(b) ? -1 : 1))
}

/**
 * The plan's routes, and the default route by the gateway's subnets where none of them is one. A route whose next hop
 * is on none of the router's networks is left out: the kernel would refuse it, and with it all the rest. Of two to the
 * same destination the first counts.
 */
function designRoutes(plan: RouterPlan, devices: RouterDevice[]): RouterRoute[] {
  const near = devices.flatMap(({ addresses }) => addresses.map(parseNetwork))
  const wished = plan.routes.map(readRoute)
  const defaults = defaultRoutes(plan).filter(
    ({ to }) => !wished.some((route) => route.to.bits === 0 && isSameFamily(route.to, to)),
  )
  const routes = [...wished, ...defaults]
    .filter(({ to, via }) => isSameFamily(to, via) && near.some((network) => isInside(network, via)))
    .map(({ to, via }) => ({ family: to.family, to: formatDestination(to), via: formatAddress(via) }))
  return [...new Map(routes.toReversed().map((route) => [`${route.family} ${route.to}`, route])).values()].toReversed()
}

function defaultRoutes(plan: RouterPlan): { to: IpPrefix; via: IpPrefix }[] {
  const { gateway } = plan
  if (!gateway) return []
  const used = gateway.network.subnets.filter(({ subnetId }) =>
    gateway.addresses.some((own) => own.subnetId === subnetId),
  )
  return [4, 6].flatMap((ipVersion) => {
    const via = used.find((subnet) => subnet.ipVersion === ipVersion && subnet.gatewayIp !== null)?.gatewayIp
    return via ? [readRoute({ destination: ipVersion === 4 ? '0.0.0.0/0' : '::/0', nexthop: via })] : []
  })
}

const readRoute = ({ destination, nexthop }: Route): { to: IpPrefix; via: IpPrefix } => ({
  to: parseNetwork(destination),
  via: parseAddress(nexthop),
})

const isSameFamily = (a: IpPrefix, b: IpPrefix): boolean => a.family === b.family

function ipv4(text: string): string {
  const address = parseAddress(text)
  if (address.family !== 4) throw new Error(`Not an IPv4 address: ${JSON.stringify(text)}`)
  return formatAddress(address)
}

function safePort(port: number): number {
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new Error(`Not a port: ${port}`)
  return port
}

function safeRate(kbps: number): number {
  if (!Number.isInteger(kbps) || kbps < 0) throw new Error(`Not a rate: ${kbps}`)
  return kbps
}

function safeMtu(mtu: number): number {
  if (!Number.isInteger(mtu) || mtu < 68 || mtu > 65_535) throw new Error(`Not an MTU: ${mtu}`)
  return mtu
}
