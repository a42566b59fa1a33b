import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { hashFile, warmUpHashing } from './hashing.ts'

const MIB = 1024 ** 2
const directory = mkdtempSync(join(tmpdir(), 'novella-hashing-'))
after(() => rmSync(directory, { recursive: true }))

const SIZES = [0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB, 3.5 * MIB]
const files = SIZES.map((size) => {
  const bytes = randomBytes(size)
  const path = join(directory, `${size}`)
  writeFileSync(path, bytes)
  const digest = (algorithm: string) => createHash(algorithm).update(bytes).digest('hex')
  return { path, expected: { md5: digest('md5'), sha512: digest('sha512') } }
})

test('a file has the hashes of its bytes, whatever its size', async () => {
  for (const { path, expected } of files) assert.deepEqual(await hashFile(path), expected, path)
})

test('it has the same when a thread was started for it, and when several are hashed at once', async () => {
  for (const { path, expected } of files) {
    warmUpHashing()
    warmUpHashing()
    assert.deepEqual(await hashFile(path), expected, path)
  }
  warmUpHashing()
  assert.deepEqual(
    await Promise.all(files.map(({ path }) => hashFile(path))),
    files.map(({ expected }) => expected),
  )
})

test('a file that is not there fails, and the next one is hashed', async () => {
  warmUpHashing()
  await assert.rejects(hashFile(join(directory, 'none')), { code: 'ENOENT' })
  const [, one] = files
  if (one) assert.deepEqual(await hashFile(one.path), one.expected)
})
