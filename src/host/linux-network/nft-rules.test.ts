import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ANY_EGRESS, EXAMPLE_NETWORK, examplePort, groupOf } from './example-plans.ts'
import { tapName } from './names.ts'
import { buildNftScript } from './nft-rules.ts'

/** The lines of one chain, trimmed. */
function chainOf(script: string, name: string): string[] {
  const lines = script.split('\n')
  const start = lines.indexOf(`  chain ${name} {`)
  assert.ok(start >= 0, `no chain ${name}`)
  return lines.slice(start + 1, lines.indexOf('  }', start)).map((line) => line.trim())
}

const ssh = { ...ANY_EGRESS, direction: 'ingress' as const, protocol: 'tcp', portRangeMin: 22, portRangeMax: 22 }

test('both tables are replaced whole, and the order of the plans does not matter', () => {
  const ports = [examplePort(2), examplePort(1)]
  const script = buildNftScript(EXAMPLE_NETWORK, ports)
  for (const family of ['bridge', 'inet']) {
    assert.match(
      script,
      new RegExp(`^table ${family} novella\ndelete table ${family} novella\ntable ${family} novella \\{`, 'm'),
    )
  }
  assert.equal(script, buildNftScript(EXAMPLE_NETWORK, ports.toReversed()))
})

test('a tap passes its own frames only, and writes its number as the sender', () => {
  const script = buildNftScript(EXAMPLE_NETWORK, [examplePort(1), examplePort(2)])
  assert.deepEqual(chainOf(script, 'from_guest').slice(1), [
    'meta mark set 0x0',
    `iifname vmap { "${tapName('port-1')}" : goto from_1, "${tapName('port-2')}" : goto from_2 }`,
    'iifname "tap*" drop',
  ])
  assert.deepEqual(chainOf(script, 'from_2'), [
    'meta mark set 0x20000',
    'ether saddr != fa:16:3e:00:00:02 drop',
    'ether type arp arp saddr ether fa:16:3e:00:00:02 arp saddr ip { 0.0.0.0, 10.0.0.12 } accept',
    'ether type != ip drop',
    'ip saddr { 0.0.0.0, 10.0.0.12 } udp sport 68 udp dport 67 @th,288,48 0xfa163e000002 accept',
    'udp dport 67 drop',
    'udp sport 67 drop',
    'ip saddr { 10.0.0.12 } accept',
    'drop',
  ])
  assert.deepEqual(chainOf(script, 'to_2'), ['meta mark set meta mark or 0x2'])
})

test('without anti-spoofing any address passes, but not to the metadata service', () => {
  const script = buildNftScript(EXAMPLE_NETWORK, [examplePort(1, { antiSpoofing: false })])
  assert.deepEqual(chainOf(script, 'from_1'), [
    'meta mark set 0x10000',
    'ether type ip ip saddr != { 10.0.0.11 } ip daddr 169.254.169.254 drop',
    'ether type { ip, arp } accept',
    'drop',
  ])
  const addressless = buildNftScript(EXAMPLE_NETWORK, [examplePort(1, { antiSpoofing: false, addresses: [] })])
  assert.ok(chainOf(addressless, 'from_1').includes('ether type ip ip daddr 169.254.169.254 drop'))
})

test('a port without an address may ask by DHCP and nothing else', () => {
  const chain = chainOf(buildNftScript(EXAMPLE_NETWORK, [examplePort(1, { addresses: [] })]), 'from_1')
  assert.deepEqual(chain.filter((line) => line.endsWith('accept')).length, 2)
  assert.ok(chain.includes('ip saddr { 0.0.0.0 } udp sport 68 udp dport 67 @th,288,48 0xfa163e000001 accept'))
})

test('what no rule allows is dropped in both directions, and only replies go unjudged', () => {
  const script = buildNftScript(EXAMPLE_NETWORK, [
    examplePort(1, { securityGroups: [groupOf(ANY_EGRESS, ssh)] }),
    examplePort(2, { securityGroups: [groupOf()] }),
  ])
  assert.deepEqual(chainOf(script, 'forward'), [
    'type filter hook forward priority 0; policy drop;',
    'meta nfproto ipv6 drop',
    'ct state invalid drop',
    'ct state related accept',
    'ct state established ct direction reply accept',
    'meta mark and 0xffff0000 vmap { 0x10000 : jump egress_1, 0x20000 : jump egress_2 }',
    'meta mark and 0xffff vmap { 0x0 : accept, 0x1 : goto ingress_1, 0x2 : goto ingress_2 }',
  ])
  assert.deepEqual(chainOf(script, 'egress_1'), ['return', 'drop'])
  assert.deepEqual(chainOf(script, 'ingress_1'), ['meta l4proto 6 th dport 22 accept', 'drop'])
  assert.deepEqual(chainOf(script, 'egress_2'), ['drop'])
  assert.deepEqual(chainOf(script, 'ingress_2'), ['drop'])
})

test('the namespace serves DHCP, metadata and ping to taps alone, and meets the ingress rules itself', () => {
  const script = buildNftScript(EXAMPLE_NETWORK, [examplePort(1)])
  const served = chainOf(script, 'input').slice(-4)
  assert.deepEqual(served, [
    'meta mark < 0x10000 drop',
    'udp sport 68 udp dport 67 accept',
    'ip daddr 169.254.169.254 tcp dport 80 accept',
    'ip daddr { 10.0.0.2 } icmp type echo-request accept',
  ])
  assert.deepEqual(chainOf(script, 'output').slice(-2), [
    'udp sport 67 udp dport 68 accept',
    'ip daddr vmap { 10.0.0.11 : goto ingress_1 }',
  ])
})

test('an empty network, and one without DHCP, have no empty maps or sets, which nft refuses', () => {
  const network = {
    ...EXAMPLE_NETWORK,
    subnets: EXAMPLE_NETWORK.subnets.map((subnet) => ({ ...subnet, dhcpAddress: null })),
  }
  const script = buildNftScript(network, [])
  assert.doesNotMatch(script, /\{ *\}/)
  assert.doesNotMatch(chainOf(script, 'input').join('\n'), /dport 67|icmp/)
})

test('two ports that claim one address do not break the script for the others', () => {
  const twin = examplePort(2, { addresses: examplePort(1).addresses })
  assert.equal(buildNftScript(EXAMPLE_NETWORK, [examplePort(1), twin]).match(/10\.0\.0\.11 : goto/g)?.length, 1)
})

test('IPv6 addresses and user text never reach the script', () => {
  const port = examplePort(1, {
    hostName: '"; flush ruleset',
    addresses: [...examplePort(1).addresses, { subnetId: 'sub-6', ipAddress: 'fd00::11' }],
  })
  assert.doesNotMatch(buildNftScript(EXAMPLE_NETWORK, [port]), /fd00|flush/)
  assert.throws(() => buildNftScript(EXAMPLE_NETWORK, [examplePort(1, { macAddress: 'fa:16:3e:00:00:01 accept' })]))
  assert.throws(() =>
    buildNftScript(EXAMPLE_NETWORK, [examplePort(1, { addresses: [{ subnetId: 'sub-a', ipAddress: '10.0.0.1 }' }] })]),
  )
})
