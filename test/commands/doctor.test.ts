/** `novella doctor` and `novella edge` at the terminal. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { exitCodeOf, missing, ok, reportLines, warn } from '../../src/commands/doctor-report.ts'
import { splitArguments } from '../../src/commands/edge.ts'
import { DataDirectory, novella } from '../support/novella-process.ts'

const MAIN = join(import.meta.dirname, '../../src/main.ts')

test('doctor tries what guests need, a line each, and leaves nothing behind', async () => {
  using data = new DataDirectory()
  const { code, stdout, stderr } = await novella('doctor', '--data', data.path)
  assert.deepEqual([code, stderr], [0, ''])
  const lines = stdout.trim().split('\n')
  for (const line of lines) assert.match(line, /^(ok|warn) +\S.* {2,}\S/)
  for (const name of [
    'root',
    'qemu-img',
    'bridge',
    'br_netfilter',
    'nft nat',
    'memory',
    'disk',
    '/dev/kvm',
    'uplink',
  ]) {
    assert.equal(lines.filter((line) => line.slice(9).startsWith(`${name}  `)).length, 1, name)
  }
  assert.deepEqual(readdirSync(data.path), [])
  const namespaces = readdirSync('/run/netns')
  assert.deepEqual(
    namespaces.filter((name) => name.startsWith('novella-doctor')),
    [],
  )
})

test('doctor says what is missing and what to do, for programs too, and ends with 1', async () => {
  using data = new DataDirectory()
  const { code, stdout } = await novella('doctor', '--data', data.path, '--uplink', 'bridge=br-nowhere', '--json')
  assert.equal(code, 1)
  const findings: { name: string; state: string; advice: string }[] = JSON.parse(stdout)
  const bad = findings.filter(({ state }) => state === 'missing')
  assert.deepEqual(
    bad.map(({ name }) => name),
    ['uplink'],
  )
  assert.match(bad[0]?.advice ?? '', /ip link add br-nowhere type bridge/)

  const asNobody = ['--reuid', '65534', '--regid', '65534', '--clear-groups', process.execPath, MAIN, 'doctor']
  const env = { PATH: process.env.PATH ?? '', NOVELLA_DATA: data.path }
  const outcome = spawnSync('setpriv', asNobody, { encoding: 'utf8', env })
  assert.equal(outcome.status, 1, outcome.stderr)
  assert.match(outcome.stdout, /^missing +root .*: run Novella as root/m)
})

test('a setting that is no uplink is refused in words', async () => {
  const { code, stderr } = await novella('doctor', '--uplink', 'bridge=no such')
  assert.equal(code, 1)
  assert.match(stderr, /--uplink is "bridge=no such"; it must be none, nat, or bridge=NAME/)
})

test('edge needs a command and a cloud with a server', async () => {
  using data = new DataDirectory()
  const without = await novella('edge', '--data', data.path)
  assert.deepEqual([without.code, without.stdout], [1, ''])
  assert.match(without.stderr, /novella edge ssh root@FLOATING_IP/)
  const early = await novella('edge', '--data', data.path, 'true')
  assert.equal(early.code, 1)
  assert.match(early.stderr, /comes with the first server/)
  const bridged = await novella('edge', '--uplink=bridge=br0', 'true')
  assert.match(bridged.stderr, /is your own network: run true there/)
})

test('the command of edge begins at the first word that is no flag', () => {
  const split = (...args: string[]) => splitArguments(args)
  assert.deepEqual(split('ssh', '-p', '22', '--x'), { flags: [], command: ['ssh', '-p', '22', '--x'] })
  assert.deepEqual(split('--data', '/d', 'ssh'), { flags: ['--data', '/d'], command: ['ssh'] })
  assert.deepEqual(split('--data=/d', '--no-first-server', '--', '--odd'), {
    flags: ['--data=/d', '--no-first-server'],
    command: ['--odd'],
  })
  assert.deepEqual(split('--data'), { flags: ['--data'], command: [] })
})

test('a warning does not fail, something missing does, and names stand in a column', () => {
  const findings = [ok('a', 'fine'), warn('longer', 'less', 'do this')]
  assert.equal(exitCodeOf(findings), 0)
  assert.equal(exitCodeOf([...findings, missing('c', 'gone', 'get it')]), 1)
  assert.deepEqual(reportLines(findings), ['ok       a       fine', 'warn     longer  less: do this'])
})
