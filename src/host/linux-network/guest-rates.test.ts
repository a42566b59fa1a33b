import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GuestRates } from './guest-rates.ts'

/** How many of these questions are let through. */
const ask = (rates: GuestRates, guest: string, count: number, now: number): number =>
  Array.from({ length: count }, () => rates.take(guest, now)).filter((wait) => wait === 0).length

test('a guest may ask much at once, then slowly, and others are not touched by it', () => {
  const rates = new GuestRates()
  assert.equal(ask(rates, 'a', 1_000, 0), 200)
  assert.equal(rates.take('a', 0), 1)
  assert.equal(ask(rates, 'a', 1_000, 1_000), 20)
  assert.equal(ask(rates, 'b', 1_000, 1_000), 200)
})

test('a bucket is full again after ten seconds, and holds no more than that', () => {
  const rates = new GuestRates()
  ask(rates, 'a', 200, 0)
  assert.equal(ask(rates, 'a', 1_000, 5_000), 100)
  assert.equal(ask(rates, 'a', 1_000, 60_000), 200)
})
