/** Plans for the tables of this directory's tests. */
import { createHash } from 'node:crypto'
import type { NetworkPlan, PortPlan, RulePlan, SecurityGroupPlan } from '../host-driver.ts'
import { type HeldPort, holdPort } from './held-port.ts'

export const EXAMPLE_NETWORK: NetworkPlan = {
  networkId: 'net-1',
  mtu: 1450,
  isUp: true,
  isExternal: false,
  subnets: [
    {
      subnetId: 'sub-a',
      cidr: '10.0.0.0/22',
      ipVersion: 4,
      gatewayIp: '10.0.0.1',
      dhcpAddress: '10.0.0.2',
      dnsNameservers: [],
      hostRoutes: [],
      ipv6Mode: null,
    },
  ],
}

export const ANY_EGRESS: RulePlan = {
  direction: 'egress',
  ethertype: 'IPv4',
  protocol: null,
  portRangeMin: null,
  portRangeMax: null,
  remoteIpPrefix: null,
  remoteGroupId: null,
}

/** A group of these rules, without members of other groups; one of other rules is another group. */
export const groupOf = (...rules: RulePlan[]): SecurityGroupPlan => {
  const groupId = createHash('sha256').update(JSON.stringify(rules)).digest('hex').slice(0, 32)
  return { groupId, rules, members: [] }
}

/** Port number `n` of the network, at 10.0.0.(10 + n). */
export const examplePort = (n: number, change: Partial<PortPlan> = {}): PortPlan => ({
  portId: `port-${n}`,
  serverId: `server-${n}`,
  macAddress: `fa:16:3e:00:00:0${n}`,
  hostName: `web-${n}`,
  addresses: [{ subnetId: 'sub-a', ipAddress: `10.0.0.${10 + n}` }],
  network: EXAMPLE_NETWORK,
  isUp: true,
  antiSpoofing: true,
  allowedAddresses: [],
  dhcpOptions: [],
  securityGroups: [groupOf(ANY_EGRESS)],
  ...change,
})

/** The same port as its network holds it, under the same number. */
export const heldPort = (n: number, change: Partial<PortPlan> = {}): HeldPort => holdPort(examplePort(n, change), n)
