/**
 * The filters of one guest network as one nft script, which replaces both tables at once. Pure.
 *
 *   guest A ─tap─▶ [bridge from_guest] ─▶ [bridge to_guest] ─▶ [inet forward] ─▶ tap ─▶ guest B
 *                        │                                     egress of A, ingress of B
 *                        └─▶ [inet input] ─▶ DHCP and metadata in the namespace
 *   the namespace itself ─▶ [inet output] ─▶ guest:            ingress of the guest
 *
 * - The bridge table says who sent a frame. It knows the tap, drops what is not the guest's own MAC and address, and
 *   writes the port's number into the packet's mark: sender in the upper half, receiver in the lower. The inet table
 *   has connection tracking but cannot see taps (bridged packets show the bridge there); it judges by the mark. By
 *   address alone, a broadcast or a frame for another's address would reach a guest past its groups.
 * - Only replies are let through for their connection's sake. Each packet in the direction of the first one is judged
 *   anew, so that a rule taken away also ends the connections it had allowed.
 * - Frames other than IP and ARP are always dropped: a VLAN or PPPoE header would hide the packet from the inet table.
 * - IPv6 is dropped everywhere; the address lists and rule matches are where it comes in.
 */
import type { NetworkPlan, PortPlan, RulePlan } from '../host-driver.ts'
import { formatIpv4, parseIpv4, parseMac } from './ipv4.ts'
import { BRIDGE, METADATA_ADDRESS, TAP_PREFIX, tapName } from './names.ts'
import { ruleMatches } from './security-rules.ts'

/** What both tables are called, and their families. */
export const FILTER_TABLE = 'novella'
export const FILTER_FAMILIES = ['bridge', 'inet'] as const

/** A port with its number in this script: 1 to 65535. */
interface NumberedPort {
  number: number
  tap: string
  mac: string
  addresses: string[]
  isolated: boolean
  rules: RulePlan[]
}

/**
 * The whole script for `nft -f -`; the same text for the same plans, in whatever order they come.
 * @throws Error when a plan carries an address, a MAC or a protocol that is none.
 */
export function buildNftScript(network: NetworkPlan, plans: readonly PortPlan[]): string {
  const ports = numberPorts(plans)
  return [
    ...table('bridge', bridgeChains(ports)),
    ...table('inet', [...sharedChains(network, ports), ...ports.flatMap(groupChains)]),
    '',
  ].join('\n')
}

function numberPorts(plans: readonly PortPlan[]): NumberedPort[] {
  const sorted = plans.toSorted((a, b) => (a.portId < b.portId ? -1 : 1))
  if (sorted.length > 0xffff) throw new Error(`Too many ports on one network: ${sorted.length}`)
  return sorted.map((plan, index) => ({
    number: index + 1,
    tap: tapName(plan.portId),
    mac: parseMac(plan.macAddress),
    addresses: plan.addresses
      .filter(({ ipAddress }) => !ipAddress.includes(':'))
      .map(({ ipAddress }) => formatIpv4(parseIpv4(ipAddress))),
    isolated: plan.antiSpoofing,
    rules: (plan.securityGroups ?? []).flatMap((group) => group.rules),
  }))
}

/** Replaces a table: named once so that deleting it never fails, all in nft's one transaction. */
function table(family: (typeof FILTER_FAMILIES)[number], chains: string[][]): string[] {
  const name = `table ${family} ${FILTER_TABLE}`
  return [name, `delete ${name}`, `${name} {`, ...chains.flat(), '}']
}

const chain = (name: string, lines: string[]): string[] => [
  `  chain ${name} {`,
  ...lines.map((line) => `    ${line}`),
  '  }',
]

const set = (members: readonly string[]): string => `{ ${members.join(', ')} }`

/** A dispatch by verdict map; none when the map would be empty, which nft refuses. */
const dispatch = (key: string, entries: readonly string[]): string[] =>
  entries.length > 0 ? [`${key} vmap ${set(entries)}`] : []

function bridgeChains(ports: NumberedPort[]): string[][] {
  return [
    chain('from_guest', [
      'type filter hook prerouting priority -300; policy accept;',
      'meta mark set 0x0',
      ...dispatch(
        'iifname',
        ports.map(({ tap, number }) => `"${tap}" : goto from_${number}`),
      ),
      `iifname "${TAP_PREFIX}*" drop`,
    ]),
    chain('to_guest', [
      'type filter hook forward priority -300; policy accept;',
      ...dispatch(
        'oifname',
        ports.map(({ tap, number }) => `"${tap}" : goto to_${number}`),
      ),
      `oifname "${TAP_PREFIX}*" drop`,
    ]),
    ...ports.flatMap((port) => [
      chain(`from_${port.number}`, port.isolated ? ownFramesOnly(port) : anyFrame(port)),
      chain(`to_${port.number}`, [`meta mark set meta mark or ${hex(port.number)}`]),
    ]),
  ]
}

function ownFramesOnly({ number, mac, addresses }: NumberedPort): string[] {
  const orNone = set(['0.0.0.0', ...addresses])
  // Where a DHCP request names the client's MAC: 28 bytes into the message, which follows 8 bytes of UDP. A request in
  // another guest's name could decline that guest's address.
  const ownDhcp = `@th,288,48 0x${mac.replaceAll(':', '')}`
  return [
    `meta mark set ${hex(number * 0x10000)}`,
    `ether saddr != ${mac} drop`,
    `ether type arp arp saddr ether ${mac} arp saddr ip ${orNone} accept`,
    'ether type != ip drop',
    `ip saddr ${orNone} udp sport 68 udp dport 67 ${ownDhcp} accept`,
    'udp dport 67 drop',
    'udp sport 67 drop',
    ...(addresses.length > 0 ? [`ip saddr ${set(addresses)} accept`] : []),
    'drop',
  ]
}

/** Without anti-spoofing any address may be used, but still not to read another guest's metadata. */
function anyFrame({ number, addresses }: NumberedPort): string[] {
  const others = addresses.length > 0 ? `ip saddr != ${set(addresses)} ` : ''
  return [
    `meta mark set ${hex(number * 0x10000)}`,
    `ether type ip ${others}ip daddr ${METADATA_ADDRESS} drop`,
    'ether type { ip, arp } accept',
    'drop',
  ]
}

/** What never needs a rule: errors about an allowed connection, and its replies. */
const REPLIES = ['ct state invalid drop', 'ct state related accept', 'ct state established ct direction reply accept']

function sharedChains(network: NetworkPlan, ports: NumberedPort[]): string[][] {
  const served = network.subnets.flatMap(({ ipVersion, dhcpAddress }) =>
    ipVersion === 4 && dhcpAddress !== null ? [formatIpv4(parseIpv4(dhcpAddress))] : [],
  )
  const guests = new Map(ports.flatMap(({ addresses, number }) => addresses.map((address) => [address, number])))
  return [
    chain('forward', [
      'type filter hook forward priority 0; policy drop;',
      'meta nfproto ipv6 drop',
      ...REPLIES,
      ...dispatch(
        'meta mark and 0xffff0000',
        ports.map(({ number }) => `${hex(number * 0x10000)} : jump egress_${number}`),
      ),
      ...dispatch('meta mark and 0xffff', [
        '0x0 : accept',
        ...ports.map(({ number }) => `${hex(number)} : goto ingress_${number}`),
      ]),
    ]),
    chain('input', [
      'type filter hook input priority 0; policy drop;',
      'iifname "lo" accept',
      `iifname != "${BRIDGE}" drop`,
      'meta nfproto ipv6 drop',
      ...REPLIES,
      // Only from a tap, whose sender is known: what answers below trusts the source address.
      'meta mark < 0x10000 drop',
      ...(served.length > 0 ? ['udp sport 68 udp dport 67 accept'] : []),
      `ip daddr ${METADATA_ADDRESS} tcp dport 80 accept`,
      ...(served.length > 0 ? [`ip daddr ${set(served)} icmp type echo-request accept`] : []),
    ]),
    chain('output', [
      'type filter hook output priority 0; policy drop;',
      'oifname "lo" accept',
      'meta nfproto ipv6 drop',
      ...REPLIES,
      'udp sport 67 udp dport 68 accept',
      ...dispatch(
        'ip daddr',
        [...guests].map(([address, number]) => `${address} : goto ingress_${number}`),
      ),
    ]),
  ]
}

function groupChains({ number, rules }: NumberedPort): string[][] {
  const lines = (direction: RulePlan['direction'], verdict: string) => [
    ...ruleMatches(rules, direction).map((match) => `${match} ${verdict}`.trim()),
    'drop',
  ]
  return [chain(`egress_${number}`, lines('egress', 'return')), chain(`ingress_${number}`, lines('ingress', 'accept'))]
}

const hex = (value: number): string => `0x${value.toString(16)}`
