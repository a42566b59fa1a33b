import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NetworkPlan, PortPlan, SecurityGroupPlan } from '../host-driver.ts'
import { ANY_EGRESS, EXAMPLE_NETWORK, examplePort, groupOf } from './example-plans.ts'
import { type HeldNetwork, NOTHING_HELD, withGroup, withoutPort, withPort } from './held-network.ts'
import { groupChainName, remoteSetName, tapName } from './names.ts'
import { planFilters } from './nft-rules.ts'
import { changeScript, type Ruleset, replaceScript } from './ruleset.ts'

const holding = (...ports: PortPlan[]): HeldNetwork => ports.reduce(withPort, NOTHING_HELD)
const filters = (held: HeldNetwork, network: NetworkPlan = held.network ?? EXAMPLE_NETWORK): Ruleset =>
  planFilters({ network, ports: [...held.ports.values()], groups: held.groups, members: held.members })
const rulesOf = (ruleset: Ruleset, name: string): readonly string[] => {
  const part = ruleset.get(name)
  assert.ok(part?.kind === 'chain', `no chain ${name}`)
  return part.rules
}
const entriesOf = (ruleset: Ruleset, name: string): string[] => {
  const part = ruleset.get(name)
  assert.ok(part?.kind === 'map', `no map ${name}`)
  return [...part.elements].map((entry) => entry.join(' : '))
}
/** The parts that a change touches, by name. */
const touched = (before: HeldNetwork, after: HeldNetwork): string[] => {
  const names = changeScript(filters(before), filters(after))
    .split('\n')
    .map((line) => / (bridge|inet) novella (\S+)/.exec(line)?.slice(1).join(' '))
  return [...new Set(names)].filter((name) => name !== undefined).sort()
}

const ssh = { ...ANY_EGRESS, direction: 'ingress' as const, protocol: 'tcp', portRangeMin: 22, portRangeMax: 22 }
const DUAL_STACK: NetworkPlan = {
  ...EXAMPLE_NETWORK,
  subnets: [
    ...EXAMPLE_NETWORK.subnets,
    {
      subnetId: 'sub-6',
      cidr: 'fd00:1::/64',
      ipVersion: 6,
      gatewayIp: 'fd00:1::1',
      dhcpAddress: 'fd00:1::2',
      dnsNameservers: [],
      hostRoutes: [],
      ipv6Mode: 'slaac',
    },
  ],
}
const named = (groupId: string, change: Partial<SecurityGroupPlan> = {}): SecurityGroupPlan => ({
  groupId,
  rules: [ANY_EGRESS],
  members: [],
  ...change,
})

/** How often a port may open a connection to the metadata service. */
const FEW_CONNECTIONS =
  'ip daddr 169.254.169.254 tcp dport 80 tcp flags & (syn | ack) == syn limit rate over 25/second burst 250 packets drop'

test('a tap passes its own frames only, and writes its number as the sender', () => {
  const ruleset = filters(holding(examplePort(1), examplePort(2)))
  assert.deepEqual(rulesOf(ruleset, 'bridge from_guest'), [
    'meta mark set 0x0',
    'iifname vmap @senders',
    'iifname "tap*" drop',
  ])
  assert.deepEqual(entriesOf(ruleset, 'bridge senders'), [
    `"${tapName('port-1')}" : goto from_1`,
    `"${tapName('port-2')}" : goto from_2`,
  ])
  assert.deepEqual(rulesOf(ruleset, 'bridge from_2'), [
    'meta mark set 0x20000',
    FEW_CONNECTIONS,
    'ether saddr != { fa:16:3e:00:00:02 } drop',
    'ether saddr fa:16:3e:00:00:02 arp saddr ether fa:16:3e:00:00:02 arp saddr ip { 0.0.0.0, 10.0.0.12 } accept',
    'ether type != ip drop',
    'ether saddr fa:16:3e:00:00:02 ip saddr { 0.0.0.0, 10.0.0.12 } udp sport 68 udp dport 67 @th,288,48 0xfa163e000002 accept',
    'udp dport 67 drop',
    'udp sport 67 drop',
    'ether saddr fa:16:3e:00:00:02 ip saddr { 10.0.0.12 } accept',
    'drop',
  ])
  assert.deepEqual(rulesOf(ruleset, 'bridge to_2'), ['meta mark set meta mark or 0x2'])
})

test('without anti-spoofing any address passes, but not to the metadata service', () => {
  assert.deepEqual(rulesOf(filters(holding(examplePort(1, { antiSpoofing: false }))), 'bridge from_1'), [
    'meta mark set 0x10000',
    FEW_CONNECTIONS,
    'ether type ip ip saddr != { 10.0.0.11 } ip daddr 169.254.169.254 drop',
    'ether type { ip, arp } accept',
    'drop',
  ])
  const addressless = filters(holding(examplePort(1, { antiSpoofing: false, addresses: [] })))
  assert.ok(rulesOf(addressless, 'bridge from_1').includes('ether type ip ip daddr 169.254.169.254 drop'))
})

test('an allowed address may be used with its MAC, for ARP too, and not to read metadata', () => {
  const allowedAddresses = [
    { ipAddress: '10.0.0.99', macAddress: 'fa:16:3e:00:00:01' },
    { ipAddress: '10.9.0.0/16', macAddress: '00:00:5E:00:01:01' },
  ]
  const rules = rulesOf(filters(holding(examplePort(1, { allowedAddresses }))), 'bridge from_1')
  for (const rule of [
    'ether saddr != { fa:16:3e:00:00:01, 00:00:5e:00:01:01 } drop',
    'ether saddr 00:00:5e:00:01:01 arp saddr ether 00:00:5e:00:01:01 arp saddr ip { 0.0.0.0, 10.9.0.0/16 } accept',
    'ether type ip ip saddr != { 10.0.0.11 } ip daddr 169.254.169.254 drop',
    'ether saddr fa:16:3e:00:00:01 ip saddr { 10.0.0.11, 10.0.0.99 } accept',
    'ether saddr 00:00:5e:00:01:01 ip saddr { 10.9.0.0/16 } accept',
  ]) {
    assert.ok(rules.includes(rule), `${rule}\nnot in\n${rules.join('\n')}`)
  }
  const anywhere = [{ ipAddress: '0.0.0.0/0', macAddress: 'fa:16:3e:00:00:01' }]
  assert.match(
    rulesOf(filters(holding(examplePort(1, { allowedAddresses: anywhere }))), 'bridge from_1').join('\n'),
    /arp saddr ip \{ 0\.0\.0\.0\/0 \} accept/,
  )
})

test('a port without an address may ask by DHCP and nothing else', () => {
  const rules = rulesOf(filters(holding(examplePort(1, { addresses: [] }))), 'bridge from_1')
  assert.equal(rules.filter((line) => line.endsWith('accept')).length, 2)
})

test('what is not up passes nothing: a port, or a whole network', () => {
  const ruleset = filters(holding(examplePort(1, { isUp: false }), examplePort(2)))
  for (const name of ['bridge from_1', 'bridge to_1', 'inet egress_1', 'inet ingress_1']) {
    assert.deepEqual(rulesOf(ruleset, name), ['drop'], name)
  }
  const down = filters(holding(examplePort(1)), { ...EXAMPLE_NETWORK, isUp: false })
  for (const name of ['bridge from_guest', 'bridge to_guest', 'bridge from_namespace']) {
    assert.deepEqual(rulesOf(down, name), ['drop'], name)
  }
})

test('what no rule allows is dropped in both directions, and only replies go unjudged', () => {
  const held = holding(
    examplePort(1, { securityGroups: [named('a', { rules: [ANY_EGRESS, ssh] }), named('b')] }),
    examplePort(2, { securityGroups: [] }),
    examplePort(3, { securityGroups: null }),
  )
  const ruleset = filters(held)
  assert.deepEqual(rulesOf(ruleset, 'inet forward'), [
    'meta nfproto ipv6 drop',
    'ct state invalid drop',
    'ct state related accept',
    'ct state established ct direction reply accept',
    'meta mark and 0x7fff0000 vmap @egress',
    'meta mark and 0xffff vmap @ingress',
  ])
  assert.deepEqual(entriesOf(ruleset, 'inet egress').slice(0, 1), ['0x10000 : jump egress_1'])
  assert.deepEqual(entriesOf(ruleset, 'inet ingress').slice(0, 2), ['0x0 : accept', '0x1 : goto ingress_1'])
  const groups = ['a', 'b'].sort()
  assert.deepEqual(rulesOf(ruleset, 'inet egress_1'), [
    ...groups.map((id) => `meta mark < 0x80000000 jump ${groupChainName(id, 'out')}`),
    'meta mark < 0x80000000 drop',
  ])
  assert.deepEqual(rulesOf(ruleset, 'inet ingress_1'), [
    ...groups.map((id) => `jump ${groupChainName(id, 'in')}`),
    'drop',
  ])
  assert.deepEqual(rulesOf(ruleset, `inet ${groupChainName('a', 'in')}`), [
    'meta nfproto ipv4 meta l4proto 6 th dport 22 accept',
  ])
  assert.deepEqual(rulesOf(ruleset, `inet ${groupChainName('a', 'out')}`), [
    'meta nfproto ipv4 meta mark set meta mark or 0x80000000 return',
  ])
  assert.deepEqual(rulesOf(ruleset, 'inet ingress_2'), ['drop'])
  assert.deepEqual(rulesOf(ruleset, 'inet egress_2'), ['meta mark < 0x80000000 drop'])
  assert.deepEqual(rulesOf(ruleset, 'inet ingress_3'), ['accept'])
  assert.deepEqual(rulesOf(ruleset, 'inet egress_3'), ['meta mark set meta mark or 0x80000000'])
})

test('a change of a group touches its chains and the sets it names, whatever the number of ports', () => {
  const remote = { ...ssh, remoteGroupId: 'db' }
  const web = (...addresses: string[]) =>
    named('web', { rules: [ANY_EGRESS, remote], members: [{ groupId: 'db', addresses }] })
  for (const count of [2, 50]) {
    const ports = Array.from({ length: count }, (_, n) => examplePort(n + 1, { securityGroups: [web('10.0.0.11')] }))
    const held = holding(...ports.map((port, n) => ({ ...port, macAddress: `fa:16:3e:00:01:${String(n + 10)}` })))
    const openly = { ...web('10.0.0.11'), rules: [ANY_EGRESS, remote, { ...ssh, protocol: 'udp' }] }
    assert.deepEqual(touched(held, withGroup(held, openly)), [`inet ${groupChainName('web', 'in')}`])
    assert.deepEqual(touched(held, withGroup(held, web('10.0.0.11', '10.0.0.0/28', 'fd00::1'))), [
      `inet ${remoteSetName('db', 4)}`,
      `inet ${remoteSetName('db', 6)}`,
    ])
    assert.deepEqual(touched(held, withGroup(held, structuredClone(web('10.0.0.11')))), [])
  }
})

test('a port that comes, changes or goes touches what is its own, and a group goes with its last port', () => {
  const held = holding(examplePort(1), examplePort(2))
  const own = (n: number) => [`bridge from_${n}`, `bridge to_${n}`, `inet egress_${n}`, `inet ingress_${n}`]
  const found = ['bridge receivers', 'bridge senders', 'inet egress', 'inet guests4', 'inet ingress']
  assert.deepEqual(touched(held, withPort(held, examplePort(3))), [...own(3), ...found].sort())
  assert.deepEqual(touched(held, withoutPort(held, 'port-1')), [...own(1), ...found].sort())
  assert.deepEqual(touched(held, withPort(held, examplePort(1, { macAddress: 'fa:16:3e:00:00:99' }))), [
    'bridge from_1',
  ])
  const joined = withPort(held, examplePort(1, { securityGroups: [groupOf(ANY_EGRESS), named('web')] }))
  const chains = ['in', 'out'].map((way) => `inet ${groupChainName('web', way as 'in' | 'out')}`)
  assert.deepEqual(touched(held, joined), ['inet egress_1', 'inet ingress_1', ...chains].sort())
  assert.deepEqual(touched(joined, held), ['inet egress_1', 'inet ingress_1', ...chains].sort())
})

test('the namespace serves DHCP, metadata and ping to taps alone, and meets the ingress rules itself', () => {
  const ruleset = filters(holding(examplePort(1)))
  assert.deepEqual(rulesOf(ruleset, 'inet input').slice(-4), [
    'meta mark < 0x10000 drop',
    'udp sport 68 udp dport 67 accept',
    'ip daddr 169.254.169.254 tcp dport 80 accept',
    'ip daddr { 10.0.0.2 } icmp type echo-request accept',
  ])
  assert.deepEqual(rulesOf(ruleset, 'inet output').slice(-2), [
    'udp sport 67 udp dport 68 accept',
    'ip daddr vmap @guests4',
  ])
  assert.deepEqual(entriesOf(ruleset, 'inet guests4'), ['10.0.0.11 : goto ingress_1'])
})

test('an empty network, and one without DHCP, have no empty sets in their rules, which nft refuses', () => {
  const network = {
    ...EXAMPLE_NETWORK,
    subnets: EXAMPLE_NETWORK.subnets.map((subnet) => ({ ...subnet, dhcpAddress: null })),
  }
  const ruleset = filters(NOTHING_HELD, network)
  assert.doesNotMatch(replaceScript(ruleset), /\{ *\}/)
  assert.doesNotMatch(rulesOf(ruleset, 'inet input').join('\n'), /dport 67|icmp/)
  assert.equal(filters(NOTHING_HELD, { ...network, isExternal: true }).size, 0)
})

test('two ports that claim one address do not break the script for the others', () => {
  const twin = examplePort(2, { addresses: examplePort(1).addresses })
  assert.equal(entriesOf(filters(holding(examplePort(1), twin)), 'inet guests4').length, 1)
})

test('with a subnet of IPv6 a port has its addresses there, tells neighbours of no others, and is no router', () => {
  const addresses = [...examplePort(1).addresses, { subnetId: 'sub-6', ipAddress: 'fd00:1::11' }]
  const ruleset = filters(holding(examplePort(1, { addresses, network: DUAL_STACK })))
  const targets = '{ 0xfd000001000000000000000000000011, 0xfe80000000000000f8163efffe000001 }'
  const rules = rulesOf(ruleset, 'bridge from_1')
  for (const rule of [
    'ether type != { ip, ip6 } drop',
    'icmpv6 type { nd-router-advert, nd-redirect } drop',
    'udp sport 547 drop',
    `icmpv6 type nd-neighbor-advert @th,64,128 != ${targets} drop`,
    `ip6 saddr :: icmpv6 type nd-neighbor-solicit @th,64,128 ${targets} accept`,
    'ether saddr fa:16:3e:00:00:01 ip6 saddr { fd00:1::11, fe80::f816:3eff:fe00:1 } accept',
  ]) {
    assert.ok(rules.includes(rule), `${rule}\nnot in\n${rules.join('\n')}`)
  }
  assert.deepEqual(entriesOf(ruleset, 'inet guests6'), ['fd00:1::11 : goto ingress_1'])
  assert.ok(!rulesOf(ruleset, 'inet forward').includes('meta nfproto ipv6 drop'))
  assert.ok(rulesOf(ruleset, 'inet input').includes('ip6 daddr { fd00:1::2 } icmpv6 type echo-request accept'))
  assert.deepEqual(rulesOf(ruleset, 'inet egress_1').slice(0, 2), [
    'icmpv6 type { nd-router-advert, nd-redirect } drop',
    'meta nfproto ipv6 udp sport 547 drop',
  ])
})

test('without a subnet of IPv6 no address of it, and never a text of a user, reaches the script', () => {
  const port = examplePort(1, {
    hostName: '"; flush ruleset',
    addresses: [...examplePort(1).addresses, { subnetId: 'sub-6', ipAddress: 'fd00::11' }],
    securityGroups: [named('"; flush ruleset')],
  })
  assert.doesNotMatch(replaceScript(filters(holding(port))), /fd00|flush ruleset/)
  const bad: Partial<PortPlan>[] = [
    { macAddress: 'fa:16:3e:00:00:01 accept' },
    { addresses: [{ subnetId: 'sub-a', ipAddress: '10.0.0.1 }' }] },
    { allowedAddresses: [{ ipAddress: '10.0.0.1 accept', macAddress: 'fa:16:3e:00:00:01' }] },
    { allowedAddresses: [{ ipAddress: '10.0.0.1', macAddress: 'any' }] },
  ]
  for (const change of bad) assert.throws(() => filters(holding(examplePort(1, change))), JSON.stringify(change))
})
