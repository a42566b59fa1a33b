import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Row } from '../db/schema.ts'
import { pickHost } from './pick-host.ts'

const ratios = { cpu: 4, ram: 1, disk: 1 }
const host = (name: string, change: Partial<Row<'hosts'>> = {}): Row<'hosts'> => ({
  name,
  availabilityZone: 'nova',
  isEnabled: 1,
  vcpus: 2,
  ramMib: 1024,
  diskGib: 10,
  claimedVcpus: 0,
  claimedRamMib: 0,
  claimedDiskGib: 0,
  bootId: 'b',
  seenAt: 0,
  ...change,
})
const wanted = { vcpus: 2, ramMib: 512, diskGib: 5, availabilityZone: '' }

test('the host with the most free memory is taken', () => {
  const hosts = [host('a', { claimedRamMib: 100 }), host('b'), host('c', { claimedRamMib: 400 })]
  assert.deepEqual(pickHost(hosts, wanted, ratios), {
    hostName: 'b',
    limits: { vcpus: 8, ramMib: 1024, diskGib: 10 },
  })
})

for (const [why, change, message] of [
  ['disabled', { isEnabled: 0 }, 'a: it is disabled.'],
  ['in another zone', { availabilityZone: 'east' }, 'a: it is in zone east, not nova.'],
  ['short of memory', { claimedRamMib: 600 }, 'a: it has 424 MiB of memory free, 512 are needed.'],
  ['short of processors', { claimedVcpus: 7 }, 'a: it has 1 virtual CPUs free, 2 are needed.'],
  ['short of disk', { claimedDiskGib: 20 }, 'a: it has 0 GiB of disk free, 5 are needed.'],
] as const) {
  test(`a host that is ${why} is refused, and says so`, () => {
    const answer = pickHost([host('a', change)], { ...wanted, availabilityZone: 'nova' }, ratios)
    assert.deepEqual(answer, { refusals: [message] })
  })
}

test('a server that fits exactly fits', () => {
  const full = host('a', { claimedRamMib: 512, claimedVcpus: 6, claimedDiskGib: 5 })
  assert.ok('hostName' in pickHost([full], wanted, ratios))
})
