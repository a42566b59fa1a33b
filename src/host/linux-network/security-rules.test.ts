import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { RulePlan } from '../host-driver.ts'
import { remoteSetName } from './names.ts'
import { ruleMatches } from './security-rules.ts'

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
const six = (change: Partial<RulePlan>) => ({ ethertype: 'IPv6' as const, ...change })

test('each rule becomes the match it describes', () => {
  const table: [Partial<RulePlan>, string[]][] = [
    [{}, ['meta nfproto ipv4']],
    [{ protocol: 'any' }, ['meta nfproto ipv4']],
    [{ remoteIpPrefix: '0.0.0.0/0' }, ['meta nfproto ipv4']],
    [{ remoteIpPrefix: '10.1.0.0/16' }, ['ip saddr { 10.1.0.0/16 }']],
    [{ remoteGroupId: 'web' }, [`ip saddr @${remoteSetName('web', 4)}`]],
    [{ protocol: 'tcp' }, ['meta nfproto ipv4 meta l4proto 6']],
    [{ protocol: 'tcp', portRangeMin: 22, portRangeMax: 22 }, ['meta nfproto ipv4 meta l4proto 6 th dport 22']],
    [{ protocol: '6', portRangeMin: 22, portRangeMax: 22 }, ['meta nfproto ipv4 meta l4proto 6 th dport 22']],
    [
      { protocol: 'udp', portRangeMin: 1, portRangeMax: 65_535 },
      ['meta nfproto ipv4 meta l4proto 17 th dport 1-65535'],
    ],
    [
      { protocol: 'tcp', portRangeMin: 80, portRangeMax: 443, remoteIpPrefix: '10.0.0.7' },
      ['ip saddr { 10.0.0.7 } meta l4proto 6 th dport 80-443'],
    ],
    [
      { protocol: 'tcp', portRangeMin: 80, portRangeMax: 80, remoteGroupId: 'web' },
      [`ip saddr @${remoteSetName('web', 4)} meta l4proto 6 th dport 80`],
    ],
    [{ protocol: 'icmp' }, ['meta nfproto ipv4 meta l4proto 1']],
    [{ protocol: 'icmp', portRangeMin: 8 }, ['meta nfproto ipv4 meta l4proto 1 icmp type 8']],
    [
      { protocol: 'icmp', portRangeMin: 3, portRangeMax: 4 },
      ['meta nfproto ipv4 meta l4proto 1 icmp type 3 icmp code 4'],
    ],
    [{ protocol: '0' }, ['meta nfproto ipv4 meta l4proto 0']],
    [{ protocol: 'vrrp' }, ['meta nfproto ipv4 meta l4proto 112']],
    [six({}), ['meta nfproto ipv6']],
    [six({ remoteIpPrefix: '::/0' }), ['meta nfproto ipv6']],
    [six({ remoteIpPrefix: 'FD00:0:0::1/64', protocol: 'tcp' }), ['ip6 saddr { fd00::/64 } meta l4proto 6']],
    [six({ remoteGroupId: 'web' }), [`ip6 saddr @${remoteSetName('web', 6)}`]],
    ...['icmp', 'icmpv6', 'ipv6-icmp', '58'].map((protocol): [Partial<RulePlan>, string[]] => [
      six({ protocol, portRangeMin: 128 }),
      ['meta nfproto ipv6 meta l4proto 58 icmpv6 type 128'],
    ]),
    // What can match nothing allows nothing.
    [{ protocol: 'tcp', portRangeMin: 90, portRangeMax: 80 }, []],
    [{ protocol: '47', portRangeMin: 1, portRangeMax: 2 }, []],
    [{ portRangeMin: 22, portRangeMax: 22 }, []],
    [{ direction: 'egress' }, []],
  ]
  for (const [change, matches] of table) {
    assert.deepEqual(ruleMatches([rule(change)], 'ingress'), matches, JSON.stringify(change))
  }
  assert.deepEqual(ruleMatches([rule({ direction: 'egress', remoteIpPrefix: '10.1.0.0/16' })], 'egress'), [
    'ip daddr { 10.1.0.0/16 }',
  ])
})

test('rules for the same traffic share one match, without overlapping prefixes and in a fixed order', () => {
  const ssh = { protocol: 'tcp', portRangeMin: 22, portRangeMax: 22 }
  const rules = [
    rule({ protocol: 'udp' }),
    rule({ ...ssh, remoteIpPrefix: '10.0.0.9' }),
    rule({ ...ssh, remoteIpPrefix: '10.0.0.8/31' }),
    rule({ ...ssh, protocol: '6', remoteIpPrefix: '9.9.9.9' }),
  ]
  const matches = ['meta nfproto ipv4 meta l4proto 17', 'ip saddr { 9.9.9.9, 10.0.0.8/31 } meta l4proto 6 th dport 22']
  assert.deepEqual(ruleMatches(rules, 'ingress').sort(), matches.sort())
  assert.deepEqual(ruleMatches(rules, 'ingress'), ruleMatches(rules.toReversed(), 'ingress'))
})

test('rules that differ only in their ports share one match, ranges merged where they meet', () => {
  const tcp = (min: number, max: number, more: Partial<RulePlan> = {}) =>
    rule({ protocol: 'tcp', portRangeMin: min, portRangeMax: max, ...more })
  assert.deepEqual(ruleMatches([tcp(443, 443), tcp(80, 90), tcp(85, 100), tcp(101, 101)], 'ingress'), [
    'meta nfproto ipv4 meta l4proto 6 th dport { 80-101, 443 }',
  ])
  const many = Array.from({ length: 10_000 }, (_, index) => tcp(2 * index + 1, 2 * index + 1))
  assert.equal(ruleMatches(many, 'ingress').length, 1)
  assert.equal(ruleMatches([tcp(22, 22), rule({ protocol: 'tcp' })], 'ingress').length, 2)
})

test('a value that is none is refused instead of written', () => {
  const bad: Partial<RulePlan>[] = [
    { protocol: 'tcp accept' },
    { protocol: 'constructor' },
    { protocol: '256' },
    { protocol: 'tcp', portRangeMin: 70_000 },
    { protocol: 'tcp', portRangeMin: 1.5 },
    { protocol: 'icmp', portRangeMin: 256 },
    { remoteIpPrefix: '10.0.0.0/8 } accept; #' },
    { remoteIpPrefix: 'fd00::/64' },
    six({ remoteIpPrefix: 'fd00::/129' }),
    six({ remoteIpPrefix: 'fe80::1%br0' }),
    six({ remoteIpPrefix: '10.0.0.0/8' }),
  ]
  for (const change of bad) assert.throws(() => ruleMatches([rule(change)], 'ingress'), JSON.stringify(change))
})
