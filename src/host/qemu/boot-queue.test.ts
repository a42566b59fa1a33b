import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from '../../lib/clock.ts'
import { BOOT_CAP_MS, BootQueue, PLACE_MS } from './boot-queue.ts'

function world(limit: number) {
  const clock = new ManualClock()
  const seen = { turns: 0 }
  const queue = new BootQueue(limit, clock, () => seen.turns++)
  return { clock, queue, seen, ask: (names: string) => [...names].map((name) => queue.ask(name)) }
}

test('BootQueue: lets in as many as the limit says, and those in stay in', () => {
  const { ask } = world(2)
  assert.deepEqual(ask('abcab'), [true, true, false, true, true])
})

test('BootQueue: first asked is first served, however often the others ask', () => {
  const { ask, queue, seen } = world(1)
  assert.deepEqual(ask('abccc'), [true, false, false, false, false])
  queue.leave('a')
  assert.equal(seen.turns, 1)
  assert.deepEqual(ask('cb'), [false, true])
  queue.leave('b')
  assert.deepEqual(ask('c'), [true])
})

test('BootQueue: nobody is called when nobody waits', () => {
  const { ask, queue, seen } = world(1)
  ask('a')
  queue.leave('a')
  queue.leave('a')
  assert.equal(seen.turns, 0)
})

test('BootQueue: a guest that says nothing counts as booted in the end', () => {
  const { ask, clock, seen } = world(1)
  ask('ab')
  clock.advance(BOOT_CAP_MS)
  assert.equal(seen.turns, 1)
  assert.deepEqual(ask('b'), [true])
})

test('BootQueue: a place that is not asked for again is lost, and the next one is called', () => {
  const { ask, clock, queue, seen } = world(1)
  ask('ab')
  clock.advance(PLACE_MS / 2)
  queue.start('a')
  ask('c')
  clock.advance(1)
  queue.leave('a')
  assert.equal(seen.turns, 1)
  assert.deepEqual(ask('c'), [false])
  clock.advance(PLACE_MS / 2)
  assert.equal(seen.turns, 2)
  assert.deepEqual(ask('c'), [true])
})

test('BootQueue: who gives up its place calls the next', () => {
  const { ask, queue, seen } = world(1)
  ask('abc')
  queue.leave('a')
  queue.leave('b')
  assert.equal(seen.turns, 2)
  assert.deepEqual(ask('c'), [true])
})

test('BootQueue: guests found again count even beyond the limit', () => {
  const { ask, queue } = world(1)
  queue.start('x', 5)
  queue.start('y', 5)
  assert.deepEqual(ask('a'), [false])
  queue.leave('x')
  assert.deepEqual(ask('a'), [false])
  queue.leave('y')
  assert.deepEqual(ask('a'), [true])
})
