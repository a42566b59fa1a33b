import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { RulePlan } from '../host-driver.ts'
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

test('each rule becomes the match it describes', () => {
  const table: [Partial<RulePlan>, string[]][] = [
    [{}, ['']],
    [{ remoteIpPrefix: '0.0.0.0/0' }, ['']],
    [{ remoteIpPrefix: '10.1.0.0/16' }, ['ip saddr { 10.1.0.0/16 }']],
    [{ protocol: 'tcp' }, ['meta l4proto 6']],
    [{ protocol: 'tcp', portRangeMin: 22, portRangeMax: 22 }, ['meta l4proto 6 th dport 22']],
    [{ protocol: '6', portRangeMin: 22, portRangeMax: 22 }, ['meta l4proto 6 th dport 22']],
    [{ protocol: 'udp', portRangeMin: 1, portRangeMax: 65_535 }, ['meta l4proto 17 th dport 1-65535']],
    [
      { protocol: 'tcp', portRangeMin: 80, portRangeMax: 443, remoteIpPrefix: '10.0.0.7' },
      ['ip saddr { 10.0.0.7 } meta l4proto 6 th dport 80-443'],
    ],
    [{ protocol: 'icmp' }, ['meta l4proto 1']],
    [{ protocol: 'icmp', portRangeMin: 8 }, ['meta l4proto 1 icmp type 8']],
    [{ protocol: 'icmp', portRangeMin: 3, portRangeMax: 4 }, ['meta l4proto 1 icmp type 3 icmp code 4']],
    [{ protocol: '0' }, ['meta l4proto 0']],
    [{ protocol: '112' }, ['meta l4proto 112']],
    // What can match nothing, or is not served, allows nothing.
    [{ protocol: 'tcp', portRangeMin: 90, portRangeMax: 80 }, []],
    [{ protocol: '47', portRangeMin: 1, portRangeMax: 2 }, []],
    [{ portRangeMin: 22, portRangeMax: 22 }, []],
    [{ ethertype: 'IPv6' }, []],
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
  const matches = ['meta l4proto 17', 'ip saddr { 9.9.9.9, 10.0.0.8/31 } meta l4proto 6 th dport 22']
  assert.deepEqual(ruleMatches(rules, 'ingress').sort(), matches.sort())
  assert.deepEqual(ruleMatches(rules, 'ingress'), ruleMatches(rules.toReversed(), 'ingress'))
})

test('a value that is none is refused instead of written', () => {
  const bad: Partial<RulePlan>[] = [
    { protocol: 'tcp accept' },
    { protocol: '256' },
    { protocol: 'tcp', portRangeMin: 70_000 },
    { protocol: 'tcp', portRangeMin: 1.5 },
    { protocol: 'icmp', portRangeMin: 256 },
    { remoteIpPrefix: '10.0.0.0/8 } accept; #' },
  ]
  for (const change of bad) assert.throws(() => ruleMatches([rule(change)], 'ingress'), JSON.stringify(change))
})
