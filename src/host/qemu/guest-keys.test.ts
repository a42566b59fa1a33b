import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runInNewContext } from 'node:vm'
import { keyChanges } from './guest-keys.ts'

const A = 'ssh-ed25519 AAAAfirst me@here'
const B = 'ecdsa-sha2-nistp256 AAAAother you@there'
const renamed = 'ssh-ed25519 AAAAfirst someone@else'
const restricted = `no-pty,command="echo 'no, root'" ${A}`

const CASES: [says: string, present: unknown, wish: [string[], string[]], expected: [string[], string[]]][] = [
  ['new ones are added', [], [[A, B], []], [[A, B], []]],
  ['one that is there is not', [A], [[A], []], [[], []]],
  ['nor under another comment', [renamed], [[A], []], [[], []]],
  ['one that is there with options is', [restricted], [[A], []], [[A], []]],
  ['every line of a key goes', [renamed, B, restricted], [[], [A]], [[], [renamed, restricted, A]]],
  ['what is added is not removed', [A], [[A], [renamed]], [[], []]],
  ['a comment line stays', [`# ${A}`], [[], [A]], [[], [A]]],
  ['what nobody understands goes word for word', ['odd'], [[], ['odd']], [[], ['odd']]],
  ['a guest that tells nothing', null, [[A], [B]], [[A], [B]]],
  ['a guest that tells nonsense', [5, null, { A }, 'x'.repeat(100_000)], [[], [B]], [[], [B]]],
]

for (const [says, present, [add, remove], [added, removed]] of CASES) {
  test(`keyChanges: ${says}`, () =>
    assert.deepEqual(keyChanges(present, { add, remove }), { add: added, remove: removed }))
}

test('keyChanges: goes over no line of a guest again and again', () => {
  const hostile = ['ssh-', ',ssh-', '"sk-', ',sk- ', 'ssh- '].map((text) => text.repeat(16_384 / text.length))
  const present = Array.from({ length: 2_000 }, (_, index) => hostile[index % hostile.length])
  const work = () => keyChanges(present, { add: [A], remove: [B] })
  // Word by word it takes half a second, and ten times the deadline otherwise.
  assert.deepEqual(runInNewContext('work()', { work }, { timeout: 10_000 }), { add: [A], remove: [B] })
})
