/** `novella image` against a Novella that runs, and an upload that the process does not survive. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { test } from 'node:test'
import { overlayOf } from '../support/hostile-image.ts'
import { DataDirectory, NovellaProcess, novella } from '../support/novella-process.ts'
import { until } from '../support/until.ts'

async function login(data: DataDirectory, url: string) {
  const words = Object.fromEntries(
    [...data.read('openrc').matchAll(/^export (OS_\w+)=['"]?(.*?)['"]?$/gm)].map(([, k, v]) => [k, v]),
  )
  const user = { name: words.OS_USERNAME, domain: { id: 'default' }, password: words.OS_PASSWORD }
  const scope = { project: { name: words.OS_PROJECT_NAME, domain: { id: 'default' } } }
  const answer = await fetch(`${url}/identity/v3/auth/tokens`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ auth: { identity: { methods: ['password'], password: { user } }, scope } }),
  })
  return { 'x-auth-token': answer.headers.get('x-subject-token') ?? '', 'content-type': 'application/json' }
}

test('people add, list and delete images, and are told what is wrong with theirs', async () => {
  using data = new DataDirectory()
  await using up = new NovellaProcess(data, '--driver', 'memory', '--no-first-server')
  await up.ready()
  const image = (...args: string[]) => novella('image', ...args, '--data', data.path)
  const file = join(data.path, 'disk.raw')
  writeFileSync(file, randomBytes(300_000))
  const added = await image('add', file, '--name', 'mine', '--property', 'os_distro=debian', '--public')
  assert.equal(added.code, 0, added.stderr)
  assert.match(added.stderr, /taking it for raw/)
  const id = /^([0-9a-f-]{36}) {2}mine$/m.exec(added.stdout)?.[1]
  assert.match((await image('list')).stdout, new RegExp(`^${id}  active .* mine$`, 'm'))

  const hostile = join(data.path, 'disk.qcow2')
  writeFileSync(hostile, overlayOf('/etc/passwd'))
  for (const [args, why] of [
    [['add', hostile], /overlay of another file/],
    [['add', join(data.path, 'none')], /there is no file/],
    [['add', file, '--disk-format', 'floppy'], /disk_format/],
    [['add', data.path], /is no file/],
    [['delete', 'nobody'], /nobody/],
    [['paint'], /novella image add/],
  ] as const) {
    const answer = await image(...args)
    assert.equal(answer.code, 1, answer.stdout)
    assert.match(answer.stderr, why)
  }
  assert.equal((await image('list')).stdout.split('\n').length, 3)
  assert.equal((await image('delete', 'mine')).code, 0)
  assert.doesNotMatch((await image('list')).stdout, /mine/)
})

test('a name means an image of the project itself, and an id the image of that id', async () => {
  using data = new DataDirectory()
  await using up = new NovellaProcess(data, '--driver', 'memory', '--no-first-server')
  const url = await up.ready()
  const headers = await login(data, url)
  const image = (...args: string[]) => novella('image', ...args, '--data', data.path)
  const create = async (body: object): Promise<string> => {
    const answer = await fetch(`${url}/v2/images`, { method: 'POST', headers, body: JSON.stringify(body) })
    assert.equal(answer.status, 201)
    return ((await answer.json()) as { id: string }).id
  }
  const status = async (id: string) => (await fetch(`${url}/v2/images/${id}`, { headers })).status
  const theirs = await create({ name: 'debian', owner: 'f'.repeat(32) })
  assert.equal((await image('delete', 'debian')).code, 1)
  assert.equal(await status(theirs), 200)
  const old = await create({ name: 'old\u001b[2J' })
  const trap = await create({ name: old })
  assert.equal((await image('list')).stdout.includes('\u001b'), false)
  assert.equal((await image('delete', old)).code, 0)
  assert.deepEqual([await status(old), await status(trap)], [404, 200])
})

test('an upload that a killed process had under way leaves a queued image and no file', async () => {
  using data = new DataDirectory()
  let id = ''
  {
    await using up = new NovellaProcess(data, '--driver', 'memory', '--no-first-server')
    const url = await up.ready()
    const headers = await login(data, url)
    const body = JSON.stringify({ disk_format: 'raw', container_format: 'bare' })
    const created = await fetch(`${url}/image/v2/images`, { method: 'POST', headers, body })
    id = ((await created.json()) as { id: string }).id
    const outgoing = request(`${url}/image/v2/images/${id}/file`, {
      method: 'PUT',
      headers: { ...headers, 'content-type': 'application/octet-stream' },
    })
    outgoing.on('error', () => {})
    outgoing.write(randomBytes(3_000_000))
    await until('it arrives', () => existsSync(join(data.path, 'uploads', `${id}.part`)))
    const status = async () =>
      ((await (await fetch(`${url}/image/v2/images/${id}`, { headers })).json()) as { status: string }).status
    await until('it is saving', async () => (await status()) === 'saving')
    process.kill(up.pid, 'SIGKILL')
    await up.ended
    outgoing.destroy()
  }
  await using up = new NovellaProcess(data, '--driver', 'memory', '--no-first-server')
  const url = await up.ready()
  const answer = await fetch(`${url}/image/v2/images/${id}`, { headers: await login(data, url) })
  assert.equal(((await answer.json()) as { status: string }).status, 'queued')
  assert.deepEqual(readdirSync(join(data.path, 'uploads')), [])
})
