import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hashPassword, verifyPassword } from './password-hash.ts'

test('a password is right, and no other is', async () => {
  const stored = await hashPassword('correct horse')
  assert.match(stored, /^\$scrypt\$ln=14,r=8,p=2\$[\w-]{22}\$[\w-]{43}$/)
  assert.equal(await verifyPassword('correct horse', stored), true)
  for (const wrong of ['', 'correct', 'correct horse ', 'Correct horse', stored]) {
    assert.equal(await verifyPassword(wrong, stored), false, wrong)
  }
  assert.notEqual(await hashPassword('correct horse'), stored)
})

test('nobody has a password', async () => {
  for (const password of ['', 'x']) assert.equal(await verifyPassword(password, undefined), false)
})

test('the cost is read from what is stored', async () => {
  const cheap = await hashPassword('x', 4)
  assert.match(cheap, /^\$scrypt\$ln=4,/)
  assert.equal(await verifyPassword('x', cheap), true)
})

test('a letter has one form, however it is typed', async () => {
  assert.equal(await verifyPassword('caf\u00e9', await hashPassword('cafe\u0301', 4)), true)
})

test('what is not a hash of ours, or asks for too much memory, is an error and no match', async () => {
  for (const stored of ['none', '', '$2b$12$abc', '$scrypt$ln=30,r=8,p=1$c2FsdA$a2V5']) {
    await assert.rejects(verifyPassword('x', stored), stored)
  }
})
