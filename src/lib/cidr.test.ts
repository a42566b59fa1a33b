import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Cidr, formatCidr, holds, overlap, readCidr } from './cidr.ts'

const cidr = (text: string): Cidr => {
  const read = readCidr(text)
  assert.ok(read, text)
  return read
}

test('blocks are read as numbers and written in their short form', () => {
  for (const [text, short] of [
    ['10.0.1.7/24', '10.0.1.0/24'],
    ['0.0.0.0', '0.0.0.0/32'],
    ['255.255.255.255/0', '0.0.0.0/0'],
    ['FD00:0:0:0:0:0:0:1/64', 'fd00::/64'],
    ['::', '::/128'],
    ['::ffff:1.2.3.4', '::ffff:102:304/128'],
    ['2001:db8::1:0:0:1/128', '2001:db8::1:0:0:1/128'],
    ['1:2:3:4:5:6:7:8/16', '1::/16'],
  ] as const) {
    assert.equal(formatCidr(cidr(text)), short)
  }
})

test('everything else is none', () => {
  for (const text of [
    ...['', '10.0.0', '10.0.0.0/33', '10.0.0.256', '010.0.0.1', '10.0.0.0/', '10.0.0.0/-1', '10.0.0.0/255.0.0.0'],
    ...['fe80::1%eth0', '::/129', ':::', '::1\n', ' ::1', '10.0.0.0/24/24', 'x'],
  ]) {
    assert.equal(readCidr(text), undefined, text)
  }
})

test('blocks hold and overlap each other within their version only', () => {
  assert.ok(holds(cidr('10.0.0.0/8'), cidr('10.255.255.255')))
  assert.ok(!holds(cidr('10.0.0.0/24'), cidr('10.0.0.0/23')))
  assert.ok(overlap(cidr('10.0.0.0/24'), cidr('10.0.0.0/23')))
  assert.ok(!overlap(cidr('10.0.0.0/24'), cidr('10.0.1.0/24')))
  assert.ok(!overlap(cidr('0.0.0.0/0'), cidr('::/0')))
})
