import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { parseDependencies } from './apt-packages.ts'
import { openBuildDirectory, publish, removeDeadBuilds } from './build-directory.ts'
import { cpioArchive } from './cpio-archive.ts'
import { readElfNeeds } from './elf-libraries.ts'
import { modulesDep, readDependencies } from './kernel-modules.ts'

test('dependencies are read with their alternatives, without virtual packages and other relations', () => {
  const text = `qemu-guest-agent
  PreDepends: init-system-helpers
  Depends: libc6
 |Depends: libfoo1
  Depends: libfoo1t64
  Depends: <virtual-thing>
    provider
  Suggests: other
jq
  Depends: libjq1:any
empty
`
  assert.deepEqual(
    [...parseDependencies(text)],
    [
      ['qemu-guest-agent', ['init-system-helpers', 'libc6', 'libfoo1', 'libfoo1t64']],
      ['jq', ['libjq1']],
      ['empty', []],
    ],
  )
})

test('a module tells its dependencies, and modules.dep has the whole chain', () => {
  const content = Buffer.from('\x7fELF…\0license=GPL\0depends=virtio-ring,virtio\0name=virtio_pci\0')
  assert.deepEqual(readDependencies(content), ['virtio_ring', 'virtio'])
  assert.deepEqual(readDependencies(Buffer.from('\0depends=\0')), [])
  const module = (name: string, dependencies: string[]) => ({ name, dependencies, content })
  assert.equal(
    modulesDep([module('ring', []), module('virtio', ['ring']), module('pci', ['virtio', 'ring'])]),
    'ring.ko:\nvirtio.ko: ring.ko\npci.ko: virtio.ko ring.ko\n',
  )
})

test('an archive has aligned newc headers with modes and sizes, and an end', () => {
  const archive = cpioArchive([
    { path: 'bin', mode: 0o755 },
    { path: 'bin/a', mode: 0o755, content: 'hello' },
  ]).toString('latin1')
  assert.equal(archive.length % 4, 0)
  assert.deepEqual(
    [...archive.matchAll(/070701.{8}(.{8}).{32}(.{8})/g)].map((match) => match.slice(1)),
    [
      ['000041ed', '00000000'],
      ['000081ed', '00000005'],
      ['00000000', '00000000'],
    ],
  )
  assert.match(archive, /bin\/a\0[\0]*hello\0+070701.*TRAILER!!!\0+$/s)
})

test('an ELF program tells its loader and libraries; anything else is refused', async () => {
  const needs = readElfNeeds(await readFile(process.execPath))
  assert.match(needs.interpreter ?? '', /ld-linux/)
  assert.ok(needs.needed.includes('libc.so.6'))
  assert.throws(() => readElfNeeds(Buffer.from('#!/bin/sh\n'.repeat(10))), { name: 'TinyBuildError' })
})

test('of two builds the first one published stays, and neither leaves a trace', async () => {
  const parent = await mkdtemp(join(tmpdir(), 'novella-builds-'))
  try {
    const builds = [await openBuildDirectory(parent, 'x'), await openBuildDirectory(parent, 'x')]
    for (const build of builds) await writeFile(join(build, 'file'), build)
    await removeDeadBuilds(parent)
    for (const build of builds) await publish(build, join(parent, 'x'), ['file'])
    assert.deepEqual(await readdir(parent), ['x'])
    assert.equal(await readFile(join(parent, 'x', 'file'), 'utf8'), builds[0])
  } finally {
    await rm(parent, { recursive: true })
  }
})

test('what a killed build left is removed; a running build is left alone', async () => {
  const parent = await mkdtemp(join(tmpdir(), 'novella-builds-'))
  const source = `const { openBuildDirectory } = await import(${JSON.stringify(import.meta.resolve('./build-directory.ts'))})
    await openBuildDirectory(${JSON.stringify(parent)}, 'x'); console.log('made'); setInterval(() => {}, 1000)`
  const builder = spawn(process.execPath, ['--input-type=module', '--eval', source], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  try {
    const ended = once(builder, 'exit')
    await once(builder.stdout, 'data')
    await mkdir(join(parent, 'unrelated'))
    await removeDeadBuilds(parent)
    assert.equal((await readdir(parent)).length, 2)
    builder.kill('SIGKILL')
    await ended
    await removeDeadBuilds(parent)
    assert.deepEqual(await readdir(parent), ['unrelated'])
  } finally {
    builder.kill('SIGKILL')
    await rm(parent, { recursive: true })
  }
})
