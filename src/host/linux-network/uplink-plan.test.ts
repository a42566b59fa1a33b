import assert from 'node:assert/strict'
import { test } from 'node:test'
import { externalNetwork } from './router-example.ts'
import { uplinkName, uplinkPrefix } from './router-names.ts'
import { buildNatTable, pickTransit } from './uplink-plan.ts'
import { readUplink } from './uplink-setting.ts'

test('an uplink is one of three, and a bridge has the name of a device', () => {
  assert.deepEqual(readUplink('none'), { kind: 'none' })
  assert.deepEqual(readUplink('nat'), { kind: 'nat' })
  assert.deepEqual(readUplink('bridge=br-lan'), { kind: 'bridge', bridge: 'br-lan' })
  for (const text of ['', 'yes', 'bridge', 'bridge=', 'bridge=br lan', 'bridge=a-name-too-long-for-it']) {
    assert.throws(() => readUplink(text), /Not an uplink/, text)
  }
})

test('a device in the machine’s namespace tells whose it is, in the 15 characters the kernel takes', () => {
  const [one, two] = [uplinkName('/srv/one', 'net'), uplinkName('/srv/two', 'net')]
  assert.equal(one.length, 15)
  assert.notEqual(one, two)
  assert.ok(one.startsWith(uplinkPrefix('/srv/one')))
  assert.ok(!one.startsWith(uplinkPrefix('/srv/two')))
})

test('the link to the machine keeps its addresses, and takes none that another device has', () => {
  const first = pickTransit('nv0', [])
  assert.match(first.machine, /^169\.254\.\d+\.\d+$/)
  const link = (ifname: string, local: string) => ({ ifname, addr_info: [{ local }] })
  const second = pickTransit('nv0', [link('eth0', first.machine)])
  assert.notEqual(second.machine, first.machine)
  assert.deepEqual(pickTransit('nv0', [link('nv0', second.machine)]), second)
})

test('the machine lets out what comes from the external subnets, by its own address', () => {
  assert.match(
    buildNatTable('novella_x', externalNetwork(), 'nv0'),
    /oifname != "nv0" ip saddr { 203\.0\.113\.0\/24 } masquerade/,
  )
  assert.doesNotMatch(buildNatTable('novella_x', { ...externalNetwork(), subnets: [] }, 'nv0'), /masquerade/)
})
