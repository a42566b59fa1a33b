/**
 * The filters of one guest network. Pure.
 *
 *   guest A ─tap─▶ [bridge from_guest] ─▶ [bridge to_guest] ─▶ [inet forward] ─▶ tap ─▶ guest B
 *                        │                                     egress of A, ingress of B
 *                        └─▶ [inet input] ─▶ DHCP and metadata in the namespace
 *   the namespace itself ─▶ [inet output] ─▶ [bridge from_namespace] ─▶ guest:  ingress of the guest
 *   router's end ─▶ [bridge from_guest] (no sender) ─▶ as from a guest, without egress
 *
 * - The bridge table says who sent a frame. It knows the tap, drops what is not the guest's own MAC and address
 *   (frame-rules.ts), and writes the ports' numbers into the packet's mark:
 *
 *     bit 31          30 … 16   15 … 0
 *     egress allows   sender    receiver      0: no port, but the namespace or a router
 *
 *   The inet table has connection tracking but cannot see taps (bridged packets show the bridge there); it judges by
 *   the mark. By address alone, a broadcast or a frame for another's address would reach a guest past its groups.
 * - Only replies are let through for their connection's sake. Each packet in the direction of the first one is judged
 *   anew, so that a rule taken away also ends the connections it had allowed.
 * - A group has chains of its own, and each remote group a set; a port's chains only jump to its groups' chains, and
 *   are found through maps. So a change of a group touches nothing of its ports, and a port nothing of the others.
 *   That a group's egress allows a packet is a bit and no jump onwards to the receiver's: the kernel walks every way
 *   through the chains when they change, and the ways would be ports × rules × ports × rules.
 * - IPv6 is dropped unless the network has a subnet of it. Then neighbours may always find each other.
 */
import type { NetworkPlan, SecurityGroupPlan } from '../host-driver.ts'
import { fromPortRules, ownAddresses, ROUTER_MESSAGES, receiverMark, senderMark, toPortRules } from './frame-rules.ts'
import type { HeldPort } from './held-port.ts'
import { NFT_WORDS, pickPrefixes, setOf } from './ip-family.ts'
import { formatIpv4, parseIpv4 } from './ipv4.ts'
import { formatIpv6, parseIpv6 } from './ipv6.ts'
import { BRIDGE, groupChainName, METADATA_ADDRESS, remoteSetName, TAP_PREFIX, tapName } from './names.ts'
import type { Part, Ruleset } from './ruleset.ts'
import { ruleMatches } from './security-rules.ts'

export interface FilterPlan {
  network: NetworkPlan
  ports: readonly HeldPort[]
  /** Those that a port is in, at least; one that is missing allows nothing. */
  groups: ReadonlyMap<string, SecurityGroupPlan>
  /** The addresses of the members of each group that a rule names. */
  members: ReadonlyMap<string, readonly string[]>
}

const EGRESS_ALLOWS = '0x80000000'
const SENDER_BITS = '0x7fff0000'

/** Whether IPv6 is served on a network at all. */
export const speaksIpv6 = ({ subnets }: NetworkPlan): boolean => subnets.some(({ ipVersion }) => ipVersion === 6)

/**
 * Everything that the filters of a network are; nothing on an external one, where no guest is. Parts of a port or a
 * group that did not change are the same objects as in the answer before.
 * @throws Error when a plan carries an address, a MAC or a protocol that is none.
 */
export function planFilters(plan: FilterPlan): Ruleset {
  if (plan.network.isExternal) return new Map()
  const hasIpv6 = speaksIpv6(plan.network)
  const used = [...new Set(plan.ports.flatMap(({ groupIds }) => groupIds ?? []))].sort()
  const groups = used.flatMap((groupId) => plan.groups.get(groupId) ?? { groupId, rules: [], members: [] })
  return new Map([
    ...maps(plan.ports, hasIpv6),
    ...remoteSets(groups, plan.members),
    ...groups.flatMap(groupParts),
    ...plan.ports.flatMap((port) => portParts(port, hasIpv6)),
    ...baseChains(plan.network, hasIpv6),
  ])
}

type Parts = [string, Part][]

const chain = (rules: string[], hook?: string): Part => ({ kind: 'chain', rules, ...(hook && { hook }) })

function maps(ports: readonly HeldPort[], hasIpv6: boolean): Parts {
  const map = (type: string, entries: [string, string][]): Part => ({ kind: 'map', type, elements: new Map(entries) })
  const guests = (version: 4 | 6): [string, string][] =>
    ports.flatMap((port) =>
      ownAddresses(port, version).map((address): [string, string] => [address, `goto ingress_${port.number}`]),
    )
  const taps = (direction: 'from' | 'to') =>
    ports.map(({ portId, number }): [string, string] => [`"${tapName(portId)}"`, `goto ${direction}_${number}`])
  return [
    ['bridge senders', map('ifname', taps('from'))],
    ['bridge receivers', map('ifname', taps('to'))],
    [
      'inet egress',
      map(
        'mark',
        ports.map(({ number }) => [senderMark(number), `jump egress_${number}`]),
      ),
    ],
    [
      'inet ingress',
      map('mark', [
        ['0x0', 'accept'],
        ...ports.map(({ number }): [string, string] => [receiverMark(number), `goto ingress_${number}`]),
      ]),
    ],
    ['inet guests4', map('ipv4_addr', guests(4))],
    ['inet guests6', map('ipv6_addr', hasIpv6 ? guests(6) : [])],
  ]
}

/** Sets of the groups that rules name as remote; empty ones too. */
function remoteSets(groups: readonly SecurityGroupPlan[], members: FilterPlan['members']): Parts {
  const remotes = new Set(groups.flatMap(({ rules }) => rules.flatMap(({ remoteGroupId }) => remoteGroupId ?? [])))
  return [...remotes].sort().flatMap((groupId) =>
    ([4, 6] as const).map((version): [string, Part] => {
      const elements = pickPrefixes(version, members.get(groupId) ?? [])
      return [
        `inet ${remoteSetName(groupId, version)}`,
        { kind: 'set', type: NFT_WORDS[version].addressType, elements },
      ]
    }),
  )
}

const groupParts = remembered((group: SecurityGroupPlan): Parts => {
  const rules = (direction: 'ingress' | 'egress', verdict: string) =>
    ruleMatches(group.rules, direction).map((match) => `${match} ${verdict}`)
  return [
    [`inet ${groupChainName(group.groupId, 'in')}`, chain(rules('ingress', 'accept'))],
    [
      `inet ${groupChainName(group.groupId, 'out')}`,
      chain(rules('egress', `meta mark set meta mark or ${EGRESS_ALLOWS} return`)),
    ],
  ]
})

const portPartsOf = {
  withIpv6: remembered((port: HeldPort) => buildPortParts(port, true)),
  withoutIpv6: remembered((port: HeldPort) => buildPortParts(port, false)),
}
const portParts = (port: HeldPort, hasIpv6: boolean): Parts =>
  hasIpv6 ? portPartsOf.withIpv6(port) : portPartsOf.withoutIpv6(port)

function buildPortParts(port: HeldPort, hasIpv6: boolean): Parts {
  return [
    [`bridge from_${port.number}`, chain(fromPortRules(port, hasIpv6))],
    [`bridge to_${port.number}`, chain(toPortRules(port))],
    [`inet egress_${port.number}`, chain(egressRules(port, hasIpv6))],
    [`inet ingress_${port.number}`, chain(ingressRules(port))],
  ]
}

const DHCPV6_ANSWERS = 'meta nfproto ipv6 udp sport 547 drop'

function egressRules({ isUp, groupIds, antiSpoofing }: HeldPort, hasIpv6: boolean): string[] {
  if (!isUp) return ['drop']
  if (groupIds === null) return [`meta mark set meta mark or ${EGRESS_ALLOWS}`]
  return [
    // A second time, for those whose header was in a later fragment when they passed the bridge.
    ...(hasIpv6 && antiSpoofing ? [`${ROUTER_MESSAGES} drop`, DHCPV6_ANSWERS] : []),
    ...groupIds.map((groupId) => `meta mark < ${EGRESS_ALLOWS} jump ${groupChainName(groupId, 'out')}`),
    `meta mark < ${EGRESS_ALLOWS} drop`,
  ]
}

function ingressRules({ isUp, groupIds }: HeldPort): string[] {
  if (!isUp) return ['drop']
  if (groupIds === null) return ['accept']
  return [...groupIds.map((groupId) => `jump ${groupChainName(groupId, 'in')}`), 'drop']
}

/** What never needs a rule: errors about an allowed connection, and its replies. */
const REPLIES = ['ct state invalid drop', 'ct state related accept', 'ct state established ct direction reply accept']
/** Without these no IPv6 address can be used: who has it, and which router there is. */
const NEIGHBOURS = 'icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } accept'

function baseChains(network: NetworkPlan, hasIpv6: boolean): Parts {
  return [...bridgeChains(network.isUp), ...inetChains(network, hasIpv6)]
}

function bridgeChains(isUp: boolean): Parts {
  const base = (hook: string, rules: string[]): Part =>
    chain(isUp ? rules : ['drop'], `type filter hook ${hook} priority -300; policy accept;`)
  const toKnown = ['oifname vmap @receivers', `oifname "${TAP_PREFIX}*" drop`]
  return [
    [
      'bridge from_guest',
      base('prerouting', ['meta mark set 0x0', 'iifname vmap @senders', `iifname "${TAP_PREFIX}*" drop`]),
    ],
    ['bridge to_guest', base('forward', toKnown)],
    ['bridge from_namespace', base('output', toKnown)],
  ]
}

function inetChains(network: NetworkPlan, hasIpv6: boolean): Parts {
  const base = (hook: string, rules: string[]): Part =>
    chain(rules, `type filter hook ${hook} priority 0; policy drop;`)
  const ofIpv6 = (...rules: string[]): string[] => (hasIpv6 ? rules : [])
  const noIpv6 = hasIpv6 ? [] : ['meta nfproto ipv6 drop']
  const served = servedAddresses(network)
  const pinged = [
    ...(served[4].length > 0 ? [`ip daddr ${setOf(served[4])} icmp type echo-request accept`] : []),
    ...(served[6].length > 0 ? [`ip6 daddr ${setOf(served[6])} icmpv6 type echo-request accept`] : []),
  ]
  return [
    [
      'inet forward',
      base('forward', [
        ...noIpv6,
        ...REPLIES,
        ...ofIpv6(NEIGHBOURS, 'meta mark < 0x10000 icmpv6 type nd-router-advert accept'),
        `meta mark and ${SENDER_BITS} vmap @egress`,
        'meta mark and 0xffff vmap @ingress',
      ]),
    ],
    [
      'inet input',
      base('input', [
        'iifname "lo" accept',
        `iifname != "${BRIDGE}" drop`,
        ...noIpv6,
        ...REPLIES,
        // Only from a tap, whose sender is known: what answers below trusts the source address.
        'meta mark < 0x10000 drop',
        ...ofIpv6(NEIGHBOURS),
        ...(served[4].length > 0 ? ['udp sport 68 udp dport 67 accept'] : []),
        ...(served[6].length > 0 ? ['meta nfproto ipv6 udp sport 546 udp dport 547 accept'] : []),
        `ip daddr ${METADATA_ADDRESS} tcp dport 80 accept`,
        ...pinged,
      ]),
    ],
    [
      'inet output',
      base('output', [
        'oifname "lo" accept',
        ...noIpv6,
        ...REPLIES,
        'udp sport 67 udp dport 68 accept',
        ...ofIpv6(
          'icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept',
          'udp sport 547 udp dport 546 accept',
          // So the DHCP server learns the MAC of who asks.
          'ip6 daddr fe80::/10 icmpv6 type echo-request accept',
        ),
        'ip daddr vmap @guests4',
        ...ofIpv6('ip6 daddr vmap @guests6'),
      ]),
    ],
  ]
}

/** Where DHCP and router advertisements come from. */
function servedAddresses({ subnets }: NetworkPlan): Record<4 | 6, string[]> {
  const of = (version: 4 | 6) =>
    subnets.flatMap(({ ipVersion, dhcpAddress }) =>
      ipVersion === version && dhcpAddress !== null ? [dhcpAddress] : [],
    )
  return {
    4: of(4).map((address) => formatIpv4(parseIpv4(address))),
    6: of(6).map((address) => formatIpv6(parseIpv6(address))),
  }
}

/** The function with its answers kept as long as what they were made of. */
function remembered<T extends object, R>(build: (from: T) => R): (from: T) => R {
  const known = new WeakMap<T, R>()
  return (from) => {
    const built = known.get(from) ?? build(from)
    known.set(from, built)
    return built
  }
}
