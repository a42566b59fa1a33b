/** What the network API lets through is what hosts can do: else one bad value would keep a port from every change. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { safeOptionName, safeOptionValues } from '../../src/host/linux-network/dhcp-option.ts'
import { ruleMatches } from '../../src/host/linux-network/security-rules.ts'
import { findDhcpOption, fitsDhcpOption } from '../../src/lib/dhcp-options.ts'
import { PROTOCOL_NUMBERS } from '../../src/lib/ip-protocols.ts'
import { readRule } from '../../src/security-groups/rule-wish.ts'

/** What `read` answers; undefined when it refuses. */
function accepted<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}

const VERSIONS = [4, 6] as const
const addresses = ['10.0.0.7', '0.0.0.0', 'fd00::7', '::ffff:10.0.0.1', 'fe80::1%eth0', '010.0.0.1', '10.1', '']
const lengths = ['', '/0', '/8', '/08', '/008', '/24', '/32', '/064', '/64', '/128', '/129', '/-1', '/']

test('every rule that is accepted is one for hosts', () => {
  const number = fc.constantFrom(undefined, null, 0, 1, 8, 80, 255, 256, 65_535)
  const wish = fc.record({
    direction: fc.constantFrom('ingress' as const, 'egress' as const),
    ethertype: fc.constantFrom(undefined, 'IPv4', 'IPv6', 'ipv6'),
    protocol: fc.constantFrom(undefined, 'any', '', ...Object.keys(PROTOCOL_NUMBERS), 0, '006', '58', 255, 256, -1),
    port_range_min: number,
    port_range_max: number,
    remote_ip_prefix: fc
      .tuple(fc.constantFrom(...addresses), fc.constantFrom(...lengths))
      .map(([address, length]) => (address === '' ? undefined : address + length)),
  })
  let taken = 0
  fc.assert(
    fc.property(wish, (one) => {
      const rule = accepted(() => readRule(one))
      if (!rule) return
      taken++
      ruleMatches([rule], rule.direction)
    }),
    { numRuns: 20_000 },
  )
  assert.ok(taken > 100, `${taken} rules were tried`)
})

test('every DHCP option that is accepted is one for hosts', () => {
  const names = ['router', 'dns-server', 'mtu', 'domain-name', 'root-path', 'tftp-server', 'bootfile-url', '66', '43']
  const words = [...addresses, '1400', 'x', 'a.b', 'a b', '"', ' ']
  const value = fc.array(fc.constantFrom(...words), { maxLength: 3 }).map((some) => some.join(','))
  let taken = 0
  fc.assert(
    fc.property(fc.constantFrom(...names), value, fc.constantFrom(...VERSIONS), (name, text, ipVersion) => {
      const option = findDhcpOption(name, ipVersion)
      if (!option || !fitsDhcpOption(option, text, ipVersion)) return
      taken++
      safeOptionName(String(option.code))
      safeOptionValues({ name: String(option.code), value: text, ipVersion })
    }),
    { numRuns: 5_000 },
  )
  assert.ok(taken > 100, `${taken} options were tried`)
})
