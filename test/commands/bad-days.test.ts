/** What the world does to a Novella that runs: a database that goes away, a full disk, clients that do not let go. */
import assert from 'node:assert/strict'
import { connect, type Socket } from 'node:net'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { DataDirectory, HttpClient, NovellaProcess, novella } from '../support/novella-process.ts'
import { startPostgres } from '../support/postgres.ts'
import { until } from '../support/until.ts'

const MEMORY = ['--driver', 'memory']

test('PostgreSQL goes away under load and comes back, and Novella stays', async () => {
  using data = new DataDirectory()
  await using postgres = await startPostgres()
  await using process = new NovellaProcess(data, ...MEMORY, '--database', await postgres.newDatabase())
  const base = await process.ready()
  const client = await HttpClient.logIn(base, data)
  const { flavors } = await client.get('/flavors')
  const headers = { 'x-auth-token': client.token }
  const { images } = (await (await fetch(`${base}/v2/images`, { headers })).json()) as { images: { id: string }[] }
  const create = (name: string) =>
    client.ask('POST', '/servers', { server: { name, flavorRef: flavors[0].id, imageRef: images[0]?.id } })
  const health = async () => (await fetch(`${base}/healthz`)).status
  const { id } = (await create('web')).body.server
  await client.becomes(id, 'ACTIVE')

  let isLoaded = true
  const read = new Set<number>()
  const written = new Set<number>()
  const ask = async (_: unknown, i: number) => {
    while (isLoaded) {
      const isWriter = i % 2 === 0
      const { status } = isWriter
        ? await client.ask('PUT', `/servers/${id}`, { server: { name: `web-${i}` } })
        : await client.ask('GET', '/servers/detail')
      ;(isWriter ? written : read).add(status)
      // Novella refuses at once; the database needs some of the machine, too.
      if (status === 503) await pause(20)
    }
  }
  const load = Promise.allSettled(Array.from({ length: 16 }, ask))
  try {
    for (let crashes = 0; crashes < 2; crashes++) {
      for (const statuses of [read, written]) {
        statuses.clear()
        await until('the load is under way', () => statuses.has(200))
      }
      await postgres.crash()
      await until('callers read that it is out of service', () => read.has(503) && written.has(503))
      assert.equal(await health(), 503)
      const { body } = await client.ask('GET', '/servers')
      assert.match(body.serviceUnavailable.message, /The database does not answer/)
      await postgres.restart()
      await until('it is well again', async () => (await health()) === 200)
    }
  } finally {
    isLoaded = false
  }
  for (const client of await load) assert.equal(client.status, 'fulfilled')
  const { status, body } = await create('afterwards')
  assert.equal(status, 202)
  await client.becomes(body.server.id, 'ACTIVE')
  const { code, stderr } = await process.stop()
  assert.deepEqual([code, stderr], [0, ''])
})

test('a PostgreSQL that does not answer at the start is named in one line', async () => {
  using data = new DataDirectory()
  const url = `postgres://novella@localhost/novella?host=${encodeURIComponent(data.path)}`
  const listen = ['--data', data.path, '--listen', '127.0.0.1:0']
  const { code, stderr } = await novella('up', ...listen, ...MEMORY, '--database', url)
  assert.equal(code, 1)
  assert.match(
    stderr,
    /^novella: The database cannot be reached \(connect ENOENT .*Start it, or correct .*'database'.\n$/,
  )
})

test('a log on a full disk is lost, said once, and ends nothing', async () => {
  using data = new DataDirectory()
  await using process = new NovellaProcess(data, ...MEMORY, '--log', '/dev/full')
  const base = await process.ready()
  for (let i = 0; i < 20; i++) assert.equal((await fetch(`${base}/healthz`)).status, 200)
  const { code, stderr } = await process.stop()
  assert.equal(code, 0)
  assert.match(stderr, /^novella: the log \/dev\/full cannot be written: ENOSPC.*\n$/)
})

test('a log that cannot be opened is named in one line', async () => {
  using data = new DataDirectory()
  const { code, stderr } = await novella('up', '--data', data.path, ...MEMORY, '--log', data.path)
  assert.equal(code, 1)
  assert.match(stderr, /^novella: The log .* cannot be written: EISDIR.*--log\.\n$/)
})

for (const [name, request, answered] of [
  [
    'a half-sent body',
    'POST /v3/auth/tokens HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n' +
      'Expect: 100-continue\r\n\r\n{"auth"',
    // It has read what came before.
    /^HTTP\/1.1 100 /,
  ],
  [
    'a refused console that the client does not close',
    'GET /websockify?token=none HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    /^HTTP\/1.1 40[14] .*\r\n\r\n\w+/s,
  ],
] as const) {
  test(`${name} does not keep Novella from ending`, async () => {
    using data = new DataDirectory()
    await using process = new NovellaProcess(data, ...MEMORY)
    const { socket, received } = open(await process.ready())
    try {
      socket.write(request)
      await until('it is answered', () => answered.test(received()))
      let ended: number | null | undefined
      void process.stop().then(({ code }) => {
        ended = code
      })
      await until('it has ended', () => ended !== undefined)
      assert.equal(ended, 0)
    } finally {
      socket.destroy()
    }
  })
}

/** A client that never closes its side of its own accord. */
function open(base: string): { socket: Socket; received: () => string } {
  const { hostname, port } = new URL(base)
  let text = ''
  const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true })
  socket.on('data', (chunk) => {
    text += chunk
  })
  socket.on('error', () => {})
  return { socket, received: () => text }
}
