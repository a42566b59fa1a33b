import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { formatAddress, hostRange, parseAddress, parseNetwork } from '../lib/ip.ts'
import { readCidr, readGateway, readPools, usualGateway, usualPools } from './subnet-ranges.ts'

const typed = (type: string) => (error: unknown) => {
  assert.equal((error as { type?: string }).type, type)
  return true
}

test('the usual pools are all that cards could have, but the gateway', () => {
  const prefix = fc.integer({ min: 20, max: 30 })
  fc.assert(
    fc.property(fc.ipV4(), prefix, fc.nat(), (address, bits, pick) => {
      const network = parseNetwork(`${address}/${bits}`)
      const { first, last } = hostRange(network)
      const gateway = first + (BigInt(pick) % (last - first + 1n))
      const pools = usualPools(network, formatAddress({ version: 4, value: gateway }))
      const given = pools.flatMap(({ start, end }) => {
        const [from, to] = [parseAddress(start).value, parseAddress(end).value]
        return Array.from({ length: Number(to - from) + 1 }, (_, n) => from + BigInt(n))
      })
      const hosts = Array.from({ length: Number(last - first) + 1 }, (_, n) => first + BigInt(n))
      assert.deepEqual(
        given,
        hosts.filter((host) => host !== gateway),
      )
      // And they are pools that could be asked for.
      assert.deepEqual(readPools(pools, network, formatAddress({ version: 4, value: gateway })), pools)
    }),
  )
})

test('who names no gateway gets the first address, and who wants none gets all addresses', () => {
  for (const [cidr, gateway, pools] of [
    ['10.0.0.0/24', '10.0.0.1', [{ start: '10.0.0.1', end: '10.0.0.254' }]],
    ['10.0.0.4/30', '10.0.0.5', [{ start: '10.0.0.5', end: '10.0.0.6' }]],
    ['fd00::/64', 'fd00::1', [{ start: 'fd00::1', end: 'fd00::ffff:ffff:ffff:ffff' }]],
  ] as const) {
    assert.equal(usualGateway(parseNetwork(cidr)), gateway)
    assert.deepEqual(usualPools(parseNetwork(cidr), null), pools)
  }
})

test('a subnet has a size that serves, and addresses that mean nothing else', () => {
  for (const [cidr, version, isAutomatic] of [
    ['10.0.0.0/8', 4, false],
    ['192.0.2.0/30', 4, false],
    ['fd00::/32', 6, false],
    ['2001:db8::/126', 6, false],
    ['fd00::/64', 6, true],
  ] as const) {
    assert.equal(readCidr(cidr, version, isAutomatic).version, version)
  }
  for (const [cidr, version, isAutomatic] of [
    ['10.0.0.0/31', 4, false],
    ['8.0.0.0/6', 4, false],
    ['fd00::/127', 6, false],
    ['fd00::/65', 6, true],
    ['fd00::/64', 4, false],
    ['169.254.169.0/24', 4, false],
    ['0.0.0.0/8', 4, false],
    ['255.255.255.0/24', 4, false],
    ['fe80::/64', 6, true],
    ['ff02::/64', 6, false],
    ['::ffff:10.0.0.0/112', 6, false],
  ] as const) {
    assert.throws(() => readCidr(cidr, version, isAutomatic), typed('InvalidInput'), cidr)
  }
})

test('a gateway is an address that a card on the subnet could have', () => {
  const four = parseNetwork('10.0.0.0/24')
  assert.equal(readGateway('10.0.0.254', four), '10.0.0.254')
  for (const bad of ['10.0.0.0', '10.0.0.255', '10.0.1.1', 'fd00::1', 'x']) {
    assert.throws(() => readGateway(bad, four), typed('InvalidInput'), bad)
  }
  assert.equal(readGateway('FD00::', parseNetwork('fd00::/64')), 'fd00::')
})
