import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatIpv4, parseCidr4, parseIpv4 } from './ipv4.ts'

test('an address survives being a number', () => {
  for (const address of ['0.0.0.0', '10.1.2.3', '172.31.248.0', '255.255.255.255']) {
    assert.equal(formatIpv4(parseIpv4(address)), address)
  }
})

test('a subnet knows its first and last address, whichever address of it is given', () => {
  const subnet = parseCidr4('172.31.250.7/22')
  assert.deepEqual(
    [formatIpv4(subnet.first), formatIpv4(subnet.last), subnet.prefix],
    ['172.31.248.0', '172.31.251.255', 22],
  )
})

test('what is not an address is refused', () => {
  for (const bad of ['', '1.2.3', '1.2.3.256', '1.2.3.4.5', 'a.b.c.d', '1.2.3.-4']) {
    assert.throws(() => parseIpv4(bad), RangeError)
  }
  for (const bad of ['10.0.0.0', '10.0.0.0/33', '10.0.0.0/', '10.0.0.0/x'])
    assert.throws(() => parseCidr4(bad), RangeError)
})
