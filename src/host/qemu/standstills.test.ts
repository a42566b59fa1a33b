import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Standstills } from './standstills.ts'

test('Standstills: what counts is the time from the first stop to the first resume', () => {
  const standstills = new Standstills()
  assert.equal(standstills.end('never stopped', 9_000), false)
  standstills.begin('a', 1_000)
  standstills.begin('a', 5_000)
  standstills.begin('b', 5_000)
  assert.equal(standstills.end('a', 5_500), true)
  assert.equal(standstills.end('a', 9_000), false)
  assert.equal(standstills.end('b', 5_500), false)
})
