import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { autoAddress, formatAddress, formatNetwork, hostRange, overlaps, parseAddress, parseNetwork } from './ip.ts'

test('an address has one form, whichever way it is written', () => {
  for (const [given, form] of [
    ['0.0.0.0', '0.0.0.0'],
    ['255.255.255.255', '255.255.255.255'],
    ['FD00:0:0:0:0:0:0:1', 'fd00::1'],
    ['fd00:0:1::', 'fd00:0:1::'],
    ['::', '::'],
    ['0:0:0:0:0:ffff:a00:1', '::ffff:a00:1'],
  ] as const) {
    assert.equal(formatAddress(parseAddress(given)), form)
  }
})

test('an address survives being a number', () => {
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (text) => {
      const address = parseAddress(text)
      assert.deepEqual(parseAddress(formatAddress(address)), address)
    }),
  )
})

test('a subnet knows its first and last address, whichever address of it is given', () => {
  for (const [given, form, first, last] of [
    ['172.31.250.7/22', '172.31.248.0/22', '172.31.248.1', '172.31.251.254'],
    ['10.0.0.4/30', '10.0.0.4/30', '10.0.0.5', '10.0.0.6'],
    ['fd00::5/64', 'fd00::/64', 'fd00::1', 'fd00::ffff:ffff:ffff:ffff'],
    ['0.0.0.0/0', '0.0.0.0/0', '0.0.0.1', '255.255.255.254'],
  ] as const) {
    const network = parseNetwork(given)
    assert.equal(formatNetwork(network), form)
    const range = hostRange(network)
    const { version } = network
    assert.deepEqual(
      [range.first, range.last].map((value) => formatAddress({ version, value })),
      [first, last],
    )
  }
})

test('subnets overlap when one holds an address of the other', () => {
  const cases = [
    ['10.0.0.0/8', '10.9.0.0/16', true],
    ['10.9.0.0/16', '10.0.0.0/8', true],
    ['10.0.0.0/24', '10.0.1.0/24', false],
    ['::a00:0/104', '10.0.0.0/8', false],
  ] as const
  for (const [one, other, expected] of cases) assert.equal(overlaps(parseNetwork(one), parseNetwork(other)), expected)
})

test('a card makes its own address of its MAC', () => {
  assert.equal(autoAddress(parseNetwork('2001:db8::/64'), 'fa:16:3e:12:34:56'), '2001:db8::f816:3eff:fe12:3456')
})

test('what is not an address is refused', () => {
  for (const bad of [
    '',
    '1.2.3',
    '1.2.3.256',
    '1.2.3.4.5',
    'a.b.c.d',
    '1.2.3.-4',
    '010.0.0.1',
    '0x1',
    'fe80::1%eth0',
  ]) {
    assert.throws(() => parseAddress(bad), RangeError, bad)
  }
  for (const bad of ['10.0.0.0', '10.0.0.0/33', '10.0.0.0/', '10.0.0.0/x', '10.0.0.0/8/8', '::/129', '::/-1']) {
    assert.throws(() => parseNetwork(bad), RangeError, bad)
  }
})
