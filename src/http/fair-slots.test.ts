import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ApiError } from './api-error.ts'
import { FairSlots } from './fair-slots.ts'

/** Work that ends when the test says so, and notes in `log` when it began. */
function workshop() {
  const log: string[] = []
  const ends = new Map<string, PromiseWithResolvers<void>>()
  const work = (name: string) => () => {
    log.push(name)
    const end = Promise.withResolvers<void>()
    ends.set(name, end)
    return end.promise.then(() => name)
  }
  const end = async (name: string) => {
    ends.get(name)?.resolve()
    // The slot is handed over in the turn after.
    await new Promise((resolve) => setImmediate(resolve))
  }
  return { log, work, end, fail: (name: string) => ends.get(name)?.reject(new Error(name)) }
}

test('no more run at once than there are slots, and the lines take turns', async () => {
  const slots = new FairSlots({ what: 'tests', slots: 1, waitingPerKey: 10, waiting: 10 })
  const { log, work, end } = workshop()
  const all = ['a1', 'a2', 'a3', 'b1', 'c1', 'b2'].map((name) => slots.run(name.charAt(0), work(name)))
  assert.deepEqual(log, ['a1'])
  for (const name of ['a1', 'a2', 'b1', 'c1', 'a3', 'b2']) {
    assert.equal(log.at(-1), name)
    await end(name)
  }
  assert.deepEqual(await Promise.all(all), ['a1', 'a2', 'a3', 'b1', 'c1', 'b2'])
})

test('work that fails gives its slot back', async () => {
  const slots = new FairSlots({ what: 'tests', slots: 1, waitingPerKey: 10, waiting: 10 })
  const { work, end, fail } = workshop()
  const first = slots.run('a', work('first'))
  const second = slots.run('a', work('second'))
  fail('first')
  await assert.rejects(first, /first/)
  await end('second')
  assert.equal(await second, 'second')
  const third = slots.run('a', work('third'))
  await end('third')
  assert.equal(await third, 'third')
})

test('too many of one key are told to slow down, too many at all that the service is full', async () => {
  const slots = new FairSlots({ what: 'tests', slots: 1, waitingPerKey: 2, waiting: 3 })
  const { work, end } = workshop()
  const names = ['a1', 'a2', 'a3', 'b1']
  const all = names.map((name) => slots.run(name.charAt(0), work(name)))
  const fault = (key: string) => (error: unknown) =>
    error instanceof ApiError && error.fault === key && /^Too many tests at once/.test(error.message)
  await assert.rejects(slots.run('a', work('a4')), fault('rateLimited'))
  await assert.rejects(slots.run('c', work('c1')), fault('serviceUnavailable'))
  for (const name of ['a1', 'a2', 'b1', 'a3']) await end(name)
  assert.equal((await Promise.all(all)).length, 4)
})
