import assert from 'node:assert/strict'
import { test } from 'node:test'
import { walk } from './answer-metadata.ts'

const tree = { a: { b: () => 'leaf', '0=key': { 'openssh-key': () => 'ssh-ed25519 AAAA' } }, gone: () => undefined }

test('a path finds its leaf, with or without slashes at the ends, and whatever its query', () => {
  for (const path of ['/a/b', 'a/b/', '//a//b?x=/c']) assert.equal(walk(tree, path), 'leaf')
})

test('a key is found by its number', () => {
  assert.equal(walk(tree, '/a/0/openssh-key'), 'ssh-ed25519 AAAA')
})

test('below a leaf, and beside the tree, there is nothing', () => {
  for (const path of ['/a/b/c', '/x', '/gone', '/__proto__', '/a/constructor'])
    assert.equal(walk(tree, path), undefined)
})
