import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ANY_EGRESS, EXAMPLE_NETWORK, examplePort, groupOf } from './example-plans.ts'
import {
  isEmpty,
  NOTHING_HELD,
  withEnd,
  withGroup,
  withNetwork,
  withoutEnd,
  withoutPort,
  withPort,
} from './held-network.ts'

const group = (groupId: string, ...remotes: string[]) => ({
  groupId,
  rules: remotes.map((remoteGroupId) => ({ ...ANY_EGRESS, remoteGroupId })),
  members: remotes.map((remote) => ({ groupId: remote, addresses: ['10.0.0.11'] })),
})

test('a port keeps its number, and the number of one that went is given again', () => {
  const two = withPort(withPort(NOTHING_HELD, examplePort(1)), examplePort(2))
  const numbers = (held: typeof two) => [...held.ports.values()].map(({ portId, number }) => `${portId}=${number}`)
  assert.deepEqual(numbers(two), ['port-1=1', 'port-2=2'])
  const later = withPort(withoutPort(two, 'port-1'), examplePort(2, { hostName: 'other' }))
  assert.deepEqual(numbers(later), ['port-2=2'])
  assert.deepEqual(numbers(withPort(later, examplePort(3))), ['port-2=2', 'port-3=1'])
})

test('what is said again is the same object, so that nothing of it is applied again', () => {
  const held = withPort(NOTHING_HELD, examplePort(1))
  const again = withPort(held, structuredClone(examplePort(1)))
  assert.equal(again.ports.get('port-1'), held.ports.get('port-1'))
  assert.equal(again.network, held.network)
  const { groupId } = groupOf(ANY_EGRESS)
  assert.ok(held.groups.has(groupId))
  assert.equal(again.groups.get(groupId), held.groups.get(groupId))
})

test('groups and their members live as long as a port is in them, and the newest word counts', () => {
  const held = withPort(NOTHING_HELD, examplePort(1, { securityGroups: [group('web', 'db')] }))
  assert.deepEqual([[...held.groups.keys()], [...held.members.keys()]], [['web'], ['db']])
  const later = withGroup(held, { ...group('web', 'db'), members: [{ groupId: 'db', addresses: ['10.0.0.12'] }] })
  assert.deepEqual(later.members.get('db'), ['10.0.0.12'])
  const moved = withPort(later, examplePort(1, { securityGroups: [group('lone')] }))
  assert.deepEqual([[...moved.groups.keys()], [...moved.members.keys()]], [['lone'], []])
  assert.equal(withPort(held, examplePort(2, { securityGroups: null })).ports.get('port-2')?.groupIds, null)
})

test('a network is held as long as there is a port, one that cannot be read, or a router’s end', () => {
  assert.ok(isEmpty(withNetwork(NOTHING_HELD, EXAMPLE_NETWORK)))
  const ended = withEnd(NOTHING_HELD, EXAMPLE_NETWORK, 'vr1')
  assert.ok(!isEmpty(ended))
  assert.ok(isEmpty(withoutEnd(ended, 'vr1')))
  const damaged = { ...NOTHING_HELD, damaged: new Set(['port-1']) }
  assert.ok(!isEmpty(damaged))
  assert.ok(isEmpty(withoutPort(damaged, 'port-1')))
  for (const bad of ['tap1', 'vr', 'vr/1', 'vr 1 up', 'vr12345678901234']) {
    assert.throws(() => withEnd(NOTHING_HELD, EXAMPLE_NETWORK, bad), bad)
  }
})
