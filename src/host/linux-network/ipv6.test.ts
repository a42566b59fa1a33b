import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compactPrefixes6, formatIpv6, formatPrefix6, linkLocalOf, parseIpv6, parsePrefix6 } from './ipv6.ts'

test('addresses are read in every spelling and written in the short one', () => {
  const table: [string, string][] = [
    ['::', '::'],
    ['::1', '::1'],
    ['FD00:0:0:0:0:0:0:1', 'fd00::1'],
    ['fd00:1::', 'fd00:1::'],
    ['2001:db8:0:1:0:0:0:9', '2001:db8:0:1::9'],
    ['::ffff:192.0.2.1', '::ffff:c000:201'],
    ['1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7:8'],
  ]
  for (const [text, short] of table) assert.equal(formatIpv6(parseIpv6(text)), short, text)
  for (const bad of ['', '10.0.0.1', 'fe80::1%eth0', 'fd00::1/64', 'fd00::1]/', ':::', '1:2:3']) {
    assert.throws(() => parseIpv6(bad), bad)
  }
})

test('prefixes lose their host bits, and those within others are dropped', () => {
  assert.equal(formatPrefix6(parsePrefix6('fd00:1::99/64')), 'fd00:1::/64')
  assert.equal(formatPrefix6(parsePrefix6('fd00::9')), 'fd00::9')
  assert.equal(formatPrefix6(parsePrefix6('fd00::9/0')), '::/0')
  for (const bad of ['fd00::/129', 'fd00::/x', 'fd00::/64/64', 'fd00::/']) assert.throws(() => parsePrefix6(bad), bad)
  const compact = (...texts: string[]) => compactPrefixes6(texts.map(parsePrefix6)).map(formatPrefix6)
  assert.deepEqual(compact('fd01::1', 'fd00::/16', 'fd00::7', 'fd00:0:0:1::/64', 'fd01::1'), ['fd00::/16', 'fd01::1'])
})

test('a card’s link-local address is made of its MAC', () => {
  assert.equal(formatIpv6(linkLocalOf('fa:16:3e:00:93:10')), 'fe80::f816:3eff:fe00:9310')
})
