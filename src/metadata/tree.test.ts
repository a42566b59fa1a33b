import assert from 'node:assert/strict'
import { test } from 'node:test'
import { branchValue, listing, type Tree, walk } from './tree.ts'

const tree: Tree = { a: { b: () => 'leaf', '0=key': { 'openssh-key': () => 'ssh-ed25519 AAAA' } } }

test('a path finds its leaf, with or without slashes at the ends', () => {
  for (const path of ['/a/b', 'a/b/', '//a//b']) assert.equal(walk(tree, path), 'leaf')
})

test('a key is found by its number', () => {
  assert.equal(walk(tree, '/a/0/openssh-key'), 'ssh-ed25519 AAAA')
})

test('below a leaf, and beside the tree, there is nothing', () => {
  for (const path of ['/a/b/c', '/x', '/__proto__', '/a/constructor']) assert.equal(walk(tree, path), undefined)
})

test('a branch is listed with slashes after branches, and told as a value with its keys by number', () => {
  assert.equal(listing(tree), 'a/')
  assert.equal(listing(tree.a as Tree), 'b\n0=key')
  assert.deepEqual(branchValue(tree), { a: { b: 'leaf', 0: { _name: '0=key', 'openssh-key': 'ssh-ed25519 AAAA' } } })
})
