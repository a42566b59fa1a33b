/** What a signal does to an installation. The apt-get is a stand-in: tests install nothing on the machine they run on. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { test } from 'node:test'
import { until } from '../../test/support/until.ts'
import { ensureSystemPackages, MissingPackagesError } from './system-packages.ts'

const NEEDS = [{ program: 'novella-has-no-such-program', package: 'no-such-package' }]
const canInstall = process.getuid?.() === 0 && existsSync('/usr/bin/apt-get')

/** An apt-get for one test, first on the path; `directory` is where it can leave notes. */
function standInApt(script: string): Disposable & { directory: string } {
  const directory = mkdtempSync(join(tmpdir(), 'novella-apt-'))
  writeFileSync(join(directory, 'apt-get'), `#!/bin/sh\ncd ${directory}\n${script}\n`)
  chmodSync(join(directory, 'apt-get'), 0o755)
  const path = process.env.PATH ?? ''
  process.env.PATH = `${directory}${delimiter}${path}`
  return {
    directory,
    [Symbol.dispose]() {
      process.env.PATH = path
      rmSync(directory, { recursive: true })
    },
  }
}

/** A process that was ended but that nobody has waited for yet counts as gone. */
function isAlive(pid: number): boolean {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

test('a signal ends a download and the helpers it started', { skip: !canInstall }, async () => {
  using apt = standInApt('sleep 300 & echo $$ $! >pids.new; mv pids.new pids; wait')
  const noted = join(apt.directory, 'pids')
  const stop = new AbortController()
  const installed = ensureSystemPackages(NEEDS, () => {}, stop.signal)
  installed.catch(() => {})
  await until('both have started', () => existsSync(noted))
  stop.abort()
  await assert.rejects(installed, (error) => error === stop.signal.reason)
  const pids = readFileSync(noted, 'utf8').trim().split(' ').map(Number)
  assert.equal(pids.length, 2)
  await until('both have ended', () => !pids.some(isAlive))
})

test('a signal lets apt end what it cannot leave half done, and starts no more', { skip: !canInstall }, async () => {
  using apt = standInApt(`trap 'touch asked' INT
    touch "begun-$1"; until [ -e asked ]; do sleep 0.02; done; touch "ended-$1"`)
  const stop = new AbortController()
  const installed = ensureSystemPackages(NEEDS, () => {}, stop.signal)
  installed.catch(() => {})
  await until('it has begun', () => existsSync(join(apt.directory, 'begun-update')))
  stop.abort()
  await assert.rejects(installed, (error) => error === stop.signal.reason)
  assert.ok(existsSync(join(apt.directory, 'ended-update')))
  assert.ok(!existsSync(join(apt.directory, 'begun-install')))
})

test('an installation that fails names the command', { skip: !canInstall }, async () => {
  using _apt = standInApt('[ "$1" = update ]')
  const lines: string[] = []
  await assert.rejects(
    ensureSystemPackages(NEEDS, (line) => lines.push(line)),
    (error) =>
      error instanceof MissingPackagesError &&
      /could not be installed.*\n {2}apt-get install --no-install-recommends no-such-package$/s.test(error.message),
  )
  assert.deepEqual(lines, ['installing Debian packages: apt-get install --no-install-recommends no-such-package'])
})

test('who is not root is told the exact command, and nothing is tried', { skip: !canInstall }, () => {
  const module = JSON.stringify(import.meta.resolve('./system-packages.ts'))
  const source = `const { ensureSystemPackages } = await import(${module})
    process.setuid(65534)
    await ensureSystemPackages(${JSON.stringify(NEEDS)}, console.log).catch(({ name, message }) => console.log(name, message))`
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '--eval', source], { encoding: 'utf8' })
  assert.match(
    stdout,
    /^MissingPackagesError .* as root:\n {2}apt-get install --no-install-recommends no-such-package\nElsewhere, install what holds: no-such-package\.\n$/,
  )
})
