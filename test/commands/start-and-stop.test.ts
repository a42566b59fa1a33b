/** `novella` at the terminal: what it prints, and what it says on a bad day. The memory host, but its own process. */
import assert from 'node:assert/strict'
import { readdirSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { DataDirectory, HttpClient, NovellaProcess, novella } from '../support/novella-process.ts'

const MEMORY = ['--driver', 'memory']

test('up says where it is ready, writes access files for their owner only, and ends cleanly', async () => {
  using data = new DataDirectory()
  await using process = new NovellaProcess(data, ...MEMORY)
  const base = await process.ready()
  assert.deepEqual(await (await fetch(`${base}/healthz`)).json(), { status: 'ok' })
  for (const name of ['openrc', 'openrc-demo', 'clouds.yaml', 'secret.key', 'novella.db', 'novella.log']) {
    assert.equal(statSync(join(data.path, name)).mode & 0o777, 0o600, name)
  }
  for (const name of readdirSync(data.path)) {
    assert.ok((statSync(join(data.path, name)).mode & 0o004) === 0 || !/db|key|rc|yaml|log/.test(name), name)
  }
  assert.match(data.read('openrc'), new RegExp(`OS_AUTH_URL='${base}/identity'`))
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    await using other = signal === 'SIGTERM' ? process : new NovellaProcess(data, ...MEMORY)
    await other.ready()
    const { code, stderr } = await other.stop(signal)
    assert.equal(code, 0, stderr)
  }
})

test('the second start finds what the first one made, also after kill -9', async () => {
  using data = new DataDirectory()
  const first = new NovellaProcess(data, ...MEMORY)
  await first.ready()
  const password = data.read('openrc-demo').match(/OS_PASSWORD=.*/)?.[0]
  await first.stop('SIGKILL')
  await using second = new NovellaProcess(data, ...MEMORY)
  await HttpClient.logIn(await second.ready(), data)
  assert.equal(data.read('openrc-demo').match(/OS_PASSWORD=.*/)?.[0], password)
})

test('a second process on the same directory is refused, and the first goes on', async () => {
  using data = new DataDirectory()
  await using first = new NovellaProcess(data, ...MEMORY)
  const base = await first.ready()
  const { code, stderr } = await novella('up', '--data', data.path, '--listen', '127.0.0.1:0', ...MEMORY)
  assert.equal(code, 1)
  assert.match(stderr, new RegExp(`Another Novella \\(process ${first.pid}\\) works on .*novella down --data`))
  assert.equal((await fetch(`${base}/healthz`)).status, 200)
})

test('down stops it, and says when there is nothing to stop', async () => {
  using data = new DataDirectory()
  await using process = new NovellaProcess(data, ...MEMORY)
  await process.ready()
  const stopped = await novella('down', '--data', data.path)
  assert.equal(stopped.stdout, `stopped (process ${process.pid})\n`)
  assert.equal((await process.ended).code, 0)
  const again = await novella('down', '--data', data.path)
  assert.deepEqual([again.code, again.stdout], [0, `nothing runs on ${data.path}\n`])
})

test('down leaves a process alone that has the number of a dead Novella by now', async () => {
  using data = new DataDirectory()
  const first = new NovellaProcess(data, ...MEMORY)
  await first.ready()
  await first.stop('SIGKILL')
  writeFileSync(join(data.path, 'novella.pid'), `${process.pid}\n`)
  const { code, stdout } = await novella('down', '--data', data.path)
  assert.deepEqual([code, stdout], [0, `nothing runs on ${data.path}\n`])
})

test('a data directory stays the host it was, whatever the machine is called', async () => {
  using data = new DataDirectory()
  const first = new NovellaProcess(data, ...MEMORY, '--host-name', 'alpha')
  await first.ready()
  await first.stop()
  const renamed = await novella('up', '--data', data.path, '--listen', '127.0.0.1:0', ...MEMORY, '--host-name', 'beta')
  assert.equal(renamed.code, 1)
  assert.match(renamed.stderr, /belong to host 'alpha'.*set it to alpha/)
  await using again = new NovellaProcess(data, ...MEMORY)
  const base = await again.ready()
  assert.match(await (await fetch(`${base}/metrics`)).text(), /host="alpha"/)
})

test('a port that is taken is named, with what to do', async () => {
  using data = new DataDirectory()
  const taken = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => taken.once('listening', resolve))
  const { port } = taken.address() as { port: number }
  try {
    const { code, stderr } = await novella('up', '--data', data.path, '--listen', `127.0.0.1:${port}`, ...MEMORY)
    assert.equal(code, 1)
    assert.match(stderr, new RegExp(`Port ${port} on 127.0.0.1 is taken. .*--listen 127.0.0.1:PORT`))
  } finally {
    taken.close()
  }
})

test('a database of a newer version is left as it is', async () => {
  using data = new DataDirectory()
  const first = new NovellaProcess(data, ...MEMORY)
  await first.ready()
  await first.stop()
  const db = new DatabaseSync(join(data.path, 'novella.db'))
  db.exec(`insert into kysely_migration values ('9999-of-tomorrow', '2030-01-01')`)
  db.close()
  const { code, stderr } = await novella('up', '--data', data.path, '--listen', '127.0.0.1:0', ...MEMORY)
  assert.equal(code, 1)
  assert.match(stderr, /written by a newer Novella \(it holds 9999-of-tomorrow\).*nothing was changed/)
})

test('a data directory that cannot be made is named, with what to do', async () => {
  using data = new DataDirectory()
  writeFileSync(join(data.path, 'file'), '')
  // The second is one where Node's own recursive mkdir would never come back.
  for (const directory of [join(data.path, 'file', 'below'), '/proc/novella']) {
    for (const log of [[], ['--log', '-']]) {
      const { code, stderr } = await novella('up', '--data', directory, ...MEMORY, ...log)
      assert.equal(code, 1)
      assert.match(stderr, /^novella: The data directory \S+ cannot be made: .*\. Choose another with --data\.\n$/)
      assert.ok(stderr.includes(directory), stderr)
    }
  }
})

for (const [args, message] of [
  [['up', '--colour', 'blue'], /There is no setting --colour/],
  [['up', '--listen', 'here'], /listen is "here"; it must be address:port/],
  [['up', '--driver', 'xen'], /--driver is "xen"; it must be qemu, memory/],
] as const) {
  test(`${args.join(' ')} is refused in one line`, async () => {
    const { code, stderr } = await novella(...args)
    assert.equal(code, 1)
    assert.match(stderr, message)
    assert.equal(stderr.trim().split('\n').length, 1)
  })
}

test('a command that does not exist says which do', async () => {
  const { code, stderr } = await novella('launch')
  assert.equal(code, 2)
  assert.match(stderr, /no command 'launch'[\s\S]*novella up/)
})

test('config lists every setting, for scripts and as JSON, with where each came from', async () => {
  const { stdout } = await novella('config', '--region', 'gd1')
  const rows = stdout
    .trim()
    .split('\n')
    .map((line) => line.split('\t'))
  assert.deepEqual(
    rows.find(([key]) => key === 'region'),
    ['region', 'gd1', 'flag'],
  )
  const json = JSON.parse((await novella('config', '--json')).stdout)
  assert.equal(json.length, rows.length)
  assert.deepEqual(Object.keys(json[0]), ['key', 'value', 'source', 'flag', 'variable', 'help'])
})

test('help and version answer', async () => {
  assert.match((await novella('help')).stdout, /novella up/)
  assert.match((await novella('version')).stdout, /^novella \d+\.\d+\.\d+\n$/)
})
