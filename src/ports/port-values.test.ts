import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readDhcpOptions, readFixedIps, readPairs } from './port-values.ts'

const MAC = 'fa:16:3e:00:00:01'

test('allowed addresses are canonical, and have a MAC in any case', () => {
  assert.deepEqual(readPairs([{ ip_address: '10.0.0.7/8' }, { ip_address: 'FD00::1', mac_address: null }], MAC), [
    { ip_address: '10.0.0.0/8', mac_address: MAC },
    { ip_address: 'fd00::1', mac_address: MAC },
  ])
  assert.deepEqual(readPairs(null, MAC), [])
  const twice = [{ ip_address: '10.0.0.1/8' }, { ip_address: '10.0.0.2/8', mac_address: MAC.toUpperCase() }]
  assert.throws(() => readPairs(twice, MAC), /twice/)
  for (const bad of ['', '10.0.0.0/33', '10.0.0', 'x\n']) {
    assert.throws(() => readPairs([{ ip_address: bad }], MAC), /neither/, bad)
  }
})

test('wished addresses are canonical, each once; no wish is not the same as none', () => {
  assert.equal(readFixedIps(undefined), undefined)
  assert.deepEqual(readFixedIps([]), [])
  assert.deepEqual(readFixedIps([{ ip_address: 'FD00:0::1' }]), [{ subnetId: undefined, ipAddress: 'fd00::1' }])
  assert.throws(() => readFixedIps([{ ip_address: 'fd00::1' }, { ip_address: 'FD00::1' }]), /twice/)
})

test('an option takes the place of the one of its name and version, and goes without a value', () => {
  const before = [
    { opt_name: 'mtu', opt_value: '1400', ip_version: 4 },
    { opt_name: 'dns-server', opt_value: 'fd00::1', ip_version: 6 },
  ] as const
  const changes = [
    { opt_name: 'mtu', opt_value: '1300' },
    { opt_name: 'dns-server', opt_value: '192.0.2.1', ip_version: '4' as const },
    { opt_name: 'dns-server', opt_value: null, ip_version: 6 as const },
  ]
  assert.deepEqual(readDhcpOptions(changes, before), [
    { opt_name: 'mtu', opt_value: '1300', ip_version: 4 },
    { opt_name: 'dns-server', opt_value: '192.0.2.1', ip_version: 4 },
  ])
  assert.throws(() => readDhcpOptions([{ opt_name: 'mtu', opt_value: 'x' }], []), /mtu/)
  assert.throws(() => readDhcpOptions([{ opt_name: 'moon', opt_value: '1' }], []), /moon/)
})
