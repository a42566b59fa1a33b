import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { replaceFile, syncDirectory } from './durable-file.ts'

test('a file is replaced as a whole, with nothing left beside it, and not at all where there is no directory', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'novella-durable-'))
  try {
    const path = join(directory, 'plan.json')
    for (const text of ['a longer text', 'short']) await replaceFile(path, text, 0o600)
    assert.equal(await readFile(path, 'utf8'), 'short')
    assert.equal((await stat(path)).mode & 0o777, 0o600)
    assert.deepEqual(await readdir(directory), ['plan.json'])
    await assert.rejects(replaceFile(join(directory, 'none', 'plan.json'), 'x', 0o600), { code: 'ENOENT' })
    await syncDirectory(join(directory, 'none'))
  } finally {
    await rm(directory, { recursive: true })
  }
})
