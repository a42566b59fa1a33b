/** Plans of a router for the tables of this directory's tests. */
import type { NetworkPlan, RouterPlan, RouterPortPlan } from '../host-driver.ts'
import { EXAMPLE_NETWORK } from './example-plans.ts'

const subnet = (subnetId: string, cidr: string, gatewayIp: string) => ({
  subnetId,
  cidr,
  ipVersion: cidr.includes(':') ? (6 as const) : (4 as const),
  gatewayIp,
  dhcpAddress: null,
  dnsNameservers: [],
  hostRoutes: [],
  ipv6Mode: cidr.includes(':') ? ('slaac' as const) : null,
})

export const innerNetwork = (): NetworkPlan => ({
  ...EXAMPLE_NETWORK,
  networkId: 'net-a',
  subnets: [subnet('a4', '10.0.0.0/24', '10.0.0.1'), subnet('a6', 'fd00::/64', 'fd00::1')],
})

export const externalNetwork = (): NetworkPlan => ({
  ...EXAMPLE_NETWORK,
  networkId: 'net-out',
  isExternal: true,
  subnets: [subnet('out', '203.0.113.0/24', '203.0.113.1')],
})

/** A port with an address in each of the first subnets of its network. */
export const routerPort = (portId: string, network: NetworkPlan, ...addresses: string[]): RouterPortPlan => ({
  portId,
  macAddress: `fa:16:3e:00:00:0${portId === 'port-a' ? 'a' : 'b'}`,
  addresses: addresses.map((ipAddress, index) => ({ subnetId: network.subnets[index]?.subnetId ?? 'none', ipAddress })),
  network,
})

export const exampleRouter = (change: Partial<RouterPlan> = {}): RouterPlan => ({
  routerId: 'router',
  isUp: true,
  interfaces: [routerPort('port-a', innerNetwork(), '10.0.0.1', 'fd00::1')],
  gateway: { ...routerPort('port-out', externalNetwork(), '203.0.113.2'), hasSnat: true },
  routes: [],
  floatingIps: [],
  portForwardings: [],
  ...change,
})
