/** `novella doctor` on files that belong to nothing. */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { run } from '../../src/host/run-program.ts'
import { newId } from '../../src/lib/ids.ts'
import { DataDirectory, NovellaProcess, novella } from '../support/novella-process.ts'

interface FileFinding {
  name: string
  state: string
  note: string
  advice: string
}

async function filesOf(data: DataDirectory, ...flags: string[]): Promise<FileFinding[]> {
  const { stdout } = await novella('doctor', '--data', data.path, '--json', ...flags)
  return (JSON.parse(stdout) as FileFinding[]).filter(({ name }) => name === 'files')
}

/** A directory with a disk, as a killed process may leave it. */
async function leave(data: DataDirectory, folder: string, base?: string): Promise<string> {
  const directory = join(data.path, folder, newId())
  mkdirSync(directory, { recursive: true })
  const backing = base === undefined ? [] : ['-b', base, '-F', 'qcow2']
  const argv = ['qemu-img', 'create', '-q', '-f', 'qcow2', ...backing, join(directory, 'disk.qcow2'), '1M']
  await run(argv, { timeoutMs: 30_000 })
  return directory
}

test('a directory that holds no cloud yet has no files that belong to nothing', async () => {
  using data = new DataDirectory()
  const [only, ...more] = await filesOf(data)
  assert.deepEqual([only?.state, more], ['ok', []])
})

test('what belongs to nothing is listed, and removed on request, but for what others lean on', async () => {
  using data = new DataDirectory()
  const novellaUp = new NovellaProcess(data, '--driver', 'memory', '--no-first-server')
  await novellaUp.ready()
  const places = ['servers', 'volumes', 'snapshots', 'images']
  const orphans = await Promise.all(places.map((folder) => leave(data, folder)))
  mkdirSync(join(data.path, 'uploads'), { recursive: true })
  const upload = join(data.path, 'uploads', newId())
  writeFileSync(upload, 'bytes')
  writeFileSync(join(data.path, 'volumes', 'notes.txt'), 'somebody put this here')

  const listed = await filesOf(data)
  assert.deepEqual(
    listed.map(({ state, note }) => [state, note.split(' ', 1)[0]]).sort(),
    [...orphans, upload].map((path) => ['warn', path]).sort(),
  )
  for (const { advice } of listed) assert.match(advice, /doctor --remove/)

  const [refused] = await filesOf(data, '--remove')
  assert.match(refused?.advice ?? '', /novella down/)
  assert.ok(orphans.every((path) => existsSync(path)))
  await novellaUp.stop()

  const removed = await filesOf(data, '--remove')
  assert.deepEqual(
    removed.map(({ state }) => state),
    removed.map(() => 'ok'),
  )
  assert.ok([...orphans, upload].every((path) => !existsSync(path)))
  assert.ok(existsSync(join(data.path, 'volumes', 'notes.txt')))
  assert.match((await filesOf(data))[0]?.note ?? '', /belongs to something/)
})

test('a base without a row stays while a disk that has one leans on it', async () => {
  using data = new DataDirectory()
  const novellaUp = new NovellaProcess(data, '--driver', 'memory', '--no-first-server')
  await novellaUp.ready()
  await novellaUp.stop()
  const base = await leave(data, 'images')
  // The disk of something that the database knows cannot be made by hand; one that is no id is not judged.
  const directory = join(data.path, 'volumes', 'by-hand')
  mkdirSync(directory, { recursive: true })
  const argv = ['qemu-img', 'create', '-q', '-f', 'qcow2', '-b', join(base, 'disk.qcow2'), '-F', 'qcow2']
  await run([...argv, join(directory, 'disk.qcow2')], { timeoutMs: 30_000 })
  const [only, ...more] = await filesOf(data, '--remove')
  assert.deepEqual([only?.state, only?.advice, more], ['warn', 'it stays while disks are made of it', []])
  assert.ok(existsSync(base))

  // What cannot be read may lean on anything.
  writeFileSync(join(directory, 'disk.qcow2'), 'no disk any more')
  const [unsure, ...others] = await filesOf(data, '--remove')
  assert.deepEqual([unsure?.state, others], ['warn', []])
  assert.match(unsure?.note ?? '', /not a qcow2 file/)
  assert.ok(existsSync(base))
})

test('what belongs to nothing stays while a process has it open, with the base below it', async () => {
  using data = new DataDirectory()
  const novellaUp = new NovellaProcess(data, '--driver', 'memory', '--no-first-server')
  await novellaUp.ready()
  await novellaUp.stop()
  const base = await leave(data, 'images')
  const volume = await leave(data, 'volumes', join(base, 'disk.qcow2'))
  const unused = await leave(data, 'volumes')
  {
    // As a guest has it, whose server an older database still knows.
    await using _ = await open(join(volume, 'disk.qcow2'), 'r+')
    const findings = await filesOf(data, '--remove')
    assert.match(
      findings.find(({ note }) => note.startsWith(volume))?.advice ?? '',
      new RegExp(`process ${process.pid} `),
    )
    assert.deepEqual([base, volume, unused].map(existsSync), [true, true, false])
  }
  await filesOf(data, '--remove')
  assert.deepEqual([base, volume].map(existsSync), [false, false])
})
