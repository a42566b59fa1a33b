import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bytesOf, type KeyChange, mergeChanges } from './untold-keys.ts'

const [a, b] = ['ssh-ed25519 AAAAa me', 'ssh-ed25519 AAAAb you']
const change = (add: string[], remove: string[] = []): KeyChange => ({ add, remove })

test('of two changes both are told, and where they speak of one key, the later', () => {
  for (const [earlier, later, merged] of [
    [change([]), change([]), change([])],
    [change([a]), change([b]), change([a, b])],
    [change([a]), change([a]), change([a])],
    [change([a, b]), change([], [a]), change([b], [a])],
    [change([], [a]), change([a]), change([a])],
    [change([b], [a]), change([], [a]), change([b], [a])],
    // With another comment it is the same key.
    [change([a]), change([], ['ssh-ed25519 AAAAa other']), change([], ['ssh-ed25519 AAAAa other'])],
  ] as const) {
    assert.deepEqual(mergeChanges(earlier, later), merged)
  }
})

test('a key is its type and its bytes', () => {
  assert.equal(bytesOf('ssh-rsa  AAAA=\tsomeone else\n'), 'ssh-rsa AAAA=')
})
