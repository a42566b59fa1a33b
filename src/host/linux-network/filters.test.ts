import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compareListings } from './filters.ts'

const listing = (...parts: string[]) => `table inet novella {\n${parts.join('\n')}\n}\ntable bridge novella {\n}\n`
const drop = '\tchain a {\n\t\tdrop\n\t}\n'
const accept = '\tchain a {\n\t\taccept\n\t}\n'
const set = '\tset b {\n\t\ttype ipv4_addr\n\t\telements = { 10.0.0.1,\n\t\t\t     10.0.0.2 }\n\t}\n'

test('listings are compared part by part, in whatever order', () => {
  assert.deepEqual(compareListings(listing(drop, set), listing(set, drop)), [])
  assert.deepEqual(compareListings(listing(drop, set), listing(accept, set)), ['chain inet a'])
  assert.deepEqual(compareListings(listing(drop), listing(drop, set)), ['set inet b'])
  assert.deepEqual(compareListings(listing(set), listing(set.replace('0.2', '0.3'))), ['set inet b'])
})
