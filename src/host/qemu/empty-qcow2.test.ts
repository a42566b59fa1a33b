import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { run } from '../run-program.ts'
import { emptyQcow2, writeEmptyQcow2 } from './empty-qcow2.ts'
import { readQcow2Header } from './qcow2-header.ts'

const GIB = 1024 ** 3
const TIB = 1024 * GIB
const tool = (...args: string[]) => run(['qemu-img', ...args], { timeoutMs: 30_000 })

async function newDirectory(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'novella-qcow2-'))
  t.after(() => rm(directory, { recursive: true }))
  return directory
}

for (const bytes of [512, GIB, 20 * GIB, 8 * TIB]) {
  test(`an empty disk of ${bytes} bytes is what qemu-img makes, and holds up to its check`, async (t) => {
    const directory = await newDirectory(t)
    const [own, theirs] = ['own', 'theirs'].map((name) => join(directory, name))
    await writeEmptyQcow2(own ?? '', bytes)
    await tool('create', '-q', '-f', 'qcow2', theirs ?? '', String(bytes))
    const facts = async (path = '') => {
      const { 'virtual-size': size, 'cluster-size': cluster } = JSON.parse(
        await tool('info', '-f', 'qcow2', '--output=json', path),
      )
      return { size, cluster }
    }
    assert.deepEqual(await facts(own), await facts(theirs))
    const { 'check-errors': errors, leaks = 0 } = JSON.parse(
      await tool('check', '-f', 'qcow2', '--output=json', own ?? ''),
    )
    assert.deepEqual([errors, leaks], [0, 0])
    await tool('compare', '-f', 'qcow2', '-F', 'qcow2', own ?? '', theirs ?? '')
  })
}

test('an overlay shows what is below it, names it with its format, and takes what is written', async (t) => {
  const directory = await newDirectory(t)
  const base = join(directory, 'base, with a comma ☁')
  const overlay = join(directory, 'overlay')
  await tool('create', '-q', '-f', 'qcow2', base, '1G')
  const io = (...words: string[]) => run(['qemu-io', ...words], { timeoutMs: 30_000 })
  await io('-f', 'qcow2', '-c', 'write -P 7 1M 64k', base)
  await writeEmptyQcow2(overlay, 2 * GIB, base)
  assert.deepEqual(await readQcow2Header(overlay), { virtualBytes: 2 * GIB, backingFile: base, hasDataFile: false })
  const info = JSON.parse(await tool('info', '-f', 'qcow2', '--output=json', overlay))
  assert.deepEqual([info['full-backing-filename'], info['backing-filename-format']], [base, 'qcow2'])
  assert.doesNotMatch(await io('-f', 'qcow2', '-c', 'read -P 7 1M 64k', overlay), /verification failed/)
  await io('-f', 'qcow2', '-c', 'write -P 9 1900M 64k', overlay)
  assert.doesNotMatch(await io('-f', 'qcow2', '-c', 'read -P 9 1900M 64k', overlay), /verification failed/)
  await tool('check', '-q', '-f', 'qcow2', overlay)
})

test('what no header can say is a mistake of the caller', async (t) => {
  assert.throws(() => emptyQcow2(2 ** 53), /no qcow2 disk/)
  assert.throws(() => emptyQcow2(GIB, `/${'a'.repeat(1023)}`), /too long/)
  const path = join(await newDirectory(t), 'disk')
  await writeEmptyQcow2(path, GIB)
  await assert.rejects(writeEmptyQcow2(path, GIB), { code: 'EEXIST' })
})
