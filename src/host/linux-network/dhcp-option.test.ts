import assert from 'node:assert/strict'
import { test } from 'node:test'
import { safeOptionName, safeOptionValues } from './dhcp-option.ts'

test('values are typed, or plain text; whatever could end a line or a field is refused', () => {
  const table: [string, 4 | 6, string[] | undefined][] = [
    ['pxelinux.0', 4, ['pxelinux.0']],
    ['http://10.0.0.1/boot script', 4, ['http://10.0.0.1/boot script']],
    ['192.0.2.1', 4, ['192.0.2.1']],
    ['192.0.2.1, 192.0.2.2', 4, ['192.0.2.1', '192.0.2.2']],
    ['10.0.0.0/8,10.0.0.1', 4, ['10.0.0.0/8', '10.0.0.1']],
    ['1450', 4, ['1450']],
    ['fd00:0::53,[fd00::54]', 6, ['[fd00::53]', '[fd00::54]']],
    ['example.test', 6, ['example.test']],
    ['', 4, []],
    ['a,b', 4, undefined],
    ['192.0.2.1,evil', 4, undefined],
    ['a\nb', 4, undefined],
    ['192.0.2.1\n', 4, ['192.0.2.1']], // written anew, without the break
    ['192.0.2.1\n,192.0.2.2', 4, ['192.0.2.1', '192.0.2.2']],
    ['a"b', 4, undefined],
    ["a'b", 4, undefined],
    ['a\\nb', 4, undefined],
    ['a #b', 4, undefined],
    [' a', 4, undefined],
    ['wéb', 4, undefined],
    ['fe80::1%br0,fd00::1', 6, undefined],
    ['a'.repeat(256), 4, undefined],
  ]
  for (const [value, ipVersion, values] of table) {
    const read = () => safeOptionValues({ name: 'x', value, ipVersion })
    if (values) assert.deepEqual(read(), values, value)
    else assert.throws(read, /DHCP option "x" cannot carry/, value)
  }
})

test('names are those of dnsmasq or numbers', () => {
  for (const name of ['bootfile-name', 'tftp-server', '67', '150']) assert.equal(safeOptionName(name), name)
  for (const name of ['', '0', '70000', 'Name', 'a,b', 'tag:x', 'a\nb', `a${'b'.repeat(40)}`]) {
    assert.throws(() => safeOptionName(name), /Not the name or number/, name)
  }
})
