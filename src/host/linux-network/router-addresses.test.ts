import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatAddress, formatDestination, isInside, parseAddress, parseNetwork } from './router-addresses.ts'

test('addresses come out as the kernel prints them', () => {
  for (const [given, printed] of [
    ['10.0.0.1', '10.0.0.1'],
    ['255.255.255.255', '255.255.255.255'],
    ['2001:0DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['fd00:1:2:3:4:5:6:7', 'fd00:1:2:3:4:5:6:7'],
    ['fd00::1:0:0:1', 'fd00::1:0:0:1'],
    ['::', '::'],
    ['::1', '::1'],
  ] as const) {
    assert.equal(formatAddress(parseAddress(given)), printed, given)
  }
})

test('destinations lose their host bits and the length that says nothing', () => {
  for (const [given, printed] of [
    ['0.0.0.0/0', 'default'],
    ['::/0', 'default'],
    ['10.1.2.3/8', '10.0.0.0/8'],
    ['192.0.2.7/32', '192.0.2.7'],
    ['192.0.2.7', '192.0.2.7'],
    ['2001:db8::ff/64', '2001:db8::/64'],
    ['2001:db8::ff/128', '2001:db8::ff'],
  ] as const) {
    assert.equal(formatDestination(parseNetwork(given)), printed, given)
  }
})

test('what is no address or network is refused', () => {
  for (const text of ['', '10.0.0', '10.0.0.256', 'fe80::1%eth0', '10.0.0.1 dev lo', '1::2::3', 'a.b.c.d']) {
    assert.throws(() => parseAddress(text), /Not an IP address/, text)
  }
  for (const text of ['10.0.0.0/33', '10.0.0.0/', '10.0.0.0/8/8', '10.0.0.0/-1', 'fd00::/129', '10.0.0.0/1e1']) {
    assert.throws(() => parseNetwork(text), /Not an IP/, text)
  }
})

test('a network holds what shares its first bits and its family', () => {
  const holds = (outer: string, inner: string) => isInside(parseNetwork(outer), parseNetwork(inner))
  assert.equal(holds('10.0.0.0/24', '10.0.0.255'), true)
  assert.equal(holds('10.0.0.0/24', '10.0.1.0'), false)
  assert.equal(holds('10.0.0.0/24', '10.0.0.0/16'), false)
  assert.equal(holds('0.0.0.0/0', 'fd00::1'), false)
  assert.equal(holds('fd00::/64', 'fd00::1:2'), true)
  assert.equal(holds('fd00::/64', 'fd00:0:0:1::'), false)
})
