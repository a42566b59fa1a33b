import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compactPrefixes, contains, formatPrefix, maskOf, parseIpv4, parseMac, parsePrefix } from './ipv4.ts'

test('prefixes are read from text, without their host bits', () => {
  const table: [string, string][] = [
    ['10.0.0.0/24', '10.0.0.0/24'],
    ['10.0.0.77/24', '10.0.0.0/24'],
    ['255.255.255.255/32', '255.255.255.255'],
    ['192.168.1.9', '192.168.1.9'],
    ['200.1.2.3/1', '128.0.0.0/1'],
    ['1.2.3.4/0', '0.0.0.0/0'],
  ]
  for (const [text, formatted] of table) assert.equal(formatPrefix(parsePrefix(text)), formatted, text)
})

test('what is no address, prefix or MAC is refused', () => {
  for (const text of ['', '10.0.0', '10.0.0.256', '10.0.0.1 ', '010.0.0.1', '::1', '10.0.0.1;drop']) {
    assert.throws(() => parseIpv4(text), /Not an IPv4 address/, text)
  }
  for (const text of ['10.0.0.0/33', '10.0.0.0/', '10.0.0.0/8/8', '10.0.0.0/-1', 'fe80::/10', 'x/8']) {
    assert.throws(() => parsePrefix(text), /Not an IPv4/, text)
  }
  for (const text of [
    'fa:16:3e:00:00',
    'fa:16:3e:00:00:0g',
    '01:00:5e:00:00:01',
    'fa163e000001',
    'fa:16:3e:00:00:01\n',
  ]) {
    assert.throws(() => parseMac(text), /Not a MAC/, text)
  }
  assert.equal(parseMac('FA:16:3E:00:00:0A'), 'fa:16:3e:00:00:0a')
})

test('masks and containment hold at the ends of the range', () => {
  assert.deepEqual([0, 1, 31, 32].map(maskOf), [0, 0x80000000, 0xfffffffe, 0xffffffff])
  assert.ok(contains(parsePrefix('0.0.0.0/0'), parsePrefix('255.255.255.255')))
  assert.ok(contains(parsePrefix('240.0.0.0/4'), parsePrefix('255.255.255.0/24')))
  assert.ok(!contains(parsePrefix('10.0.0.0/25'), parsePrefix('10.0.0.0/24')))
})

test('a compacted list has no member inside another', () => {
  const compact = (...texts: string[]) => compactPrefixes(texts.map(parsePrefix)).map(formatPrefix)
  assert.deepEqual(compact('10.0.0.5', '10.0.0.0/24', '9.0.0.0/8', '10.0.0.0/24', '10.0.1.1'), [
    '9.0.0.0/8',
    '10.0.0.0/24',
    '10.0.1.1',
  ])
  assert.deepEqual(compact('200.0.0.1', '0.0.0.0/0'), ['0.0.0.0/0'])
  assert.deepEqual(compact(), [])
})
