import assert from 'node:assert/strict'
import { test } from 'node:test'
import { findDhcpOption, fitsDhcpOption } from './dhcp-options.ts'

test('an option has a number, whether it is named by it or by its name', () => {
  assert.deepEqual(findDhcpOption('bootfile-name', 4), { code: 67, kind: 'text' })
  assert.deepEqual(findDhcpOption('67', 4), { code: 67, kind: 'text' })
  assert.deepEqual(findDhcpOption('dns-server', 6), { code: 23, kind: 'addresses' })
  assert.deepEqual(findDhcpOption('224', 4), { code: 224, kind: 'text' })
})

test("what is no option, or the server's own, is none", () => {
  for (const name of ['', 'nonsense', '0', '1', '51', '255', '256', '1e2', 'toString', 'option:6', '6,1.2.3.4']) {
    assert.equal(findDhcpOption(name, 4), undefined, name)
  }
})

test('a value fits the kind of its option, and none can leave its line', () => {
  for (const [name, value, fits] of [
    ['ntp-server', '192.0.2.1', true],
    ['ntp-server', '192.0.2.1, 192.0.2.2', true],
    ['ntp-server', '192.0.2', false],
    ['ntp-server', 'fd00::1', false],
    ['mtu', '1400', true],
    ['mtu', '-1', false],
    ['domain-search', 'a.example', true],
    ['domain-search', 'a b', false],
    ['bootfile-name', 'pxelinux.0', true],
    ['bootfile-name', 'a\nb', false],
    ['bootfile-name', 'a"b', false],
    ['bootfile-name', 'a\\b', false],
    ['bootfile-name', 'a,b', false],
    ['bootfile-name', ' a', false],
    ['bootfile-name', '', false],
  ] as const) {
    const option = findDhcpOption(name, 4)
    assert.ok(option)
    assert.equal(fitsDhcpOption(option, value, 4), fits, `${name} ${JSON.stringify(value)}`)
  }
})
