/** What new security groups allow before anybody writes a rule. */
import type { Config } from '../config.ts'
import type { RulePlan } from '../host/host-driver.ts'

const rule = (change: Partial<RulePlan>): RulePlan => ({
  direction: 'ingress',
  ethertype: 'IPv4',
  protocol: null,
  portRangeMin: null,
  portRangeMax: null,
  remoteIpPrefix: null,
  remoteGroupId: null,
  ...change,
})
const port = (number: number): Partial<RulePlan> => ({ protocol: 'tcp', portRangeMin: number, portRangeMax: number })

/** Everything out; ping, ssh and web in. Source: shared/spec/uos-network.md §4. */
const UOS = [rule({ direction: 'egress' }), rule({ protocol: 'icmp' }), rule(port(80)), rule(port(443)), rule(port(22))]

/** Source: shared/spec/neighbours.md §4. */
const NEUTRON = (['IPv4', 'IPv6'] as const).map((ethertype) => rule({ direction: 'egress', ethertype }))

/**
 * The rules of a new group.
 * @param group its id, and whether it is the project's `default` one.
 */
export function defaultRules(
  kind: Config['defaultRules'],
  { id, isDefault }: { id: string; isDefault: boolean },
): RulePlan[] {
  if (kind === 'uos') return UOS
  if (!isDefault) return NEUTRON
  return [...NEUTRON, ...NEUTRON.map(({ ethertype }) => rule({ direction: 'ingress', ethertype, remoteGroupId: id }))]
}
