import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { Duplex } from 'node:stream'
import { test } from 'node:test'
import { HandshakeRefused, RfbClient, readAll } from '../support/rfb-client.ts'
import { DATABASES, type TestCloud, testCloud } from '../support/test-cloud.ts'
import { until } from '../support/until.ts'

const MINUTE_MS = 60_000

/** A fresh console of a server: its token and the address of its WebSocket. */
async function askForConsole(cloud: TestCloud, name = 'web'): Promise<{ token: string; socket: string }> {
  const answer = await cloud.member.post(`/servers/${cloud.id[name]}/action`, { 'os-getVNCConsole': { type: 'novnc' } })
  assert.equal(answer.statusCode, 202, answer.body)
  const token = new URL(answer.json().console.url).searchParams.get('token') ?? ''
  return { token, socket: `${await listening(cloud)}/websockify?token=${token}` }
}

/** Where the app listens, on a port of its own. */
async function listening(cloud: TestCloud): Promise<string> {
  if (!cloud.app.server.listening) await cloud.app.listen({ host: '127.0.0.1', port: 0 })
  const address = cloud.app.server.address()
  assert.ok(address !== null && typeof address === 'object')
  return `http://127.0.0.1:${address.port}`
}

const open = (url: string, headers: Record<string, string> = {}) => RfbClient.open(url, { headers })

const isRefused = (status: number, words: RegExp) => (error: unknown) => {
  assert.ok(error instanceof HandshakeRefused, String(error))
  assert.equal(error.status, status)
  assert.match(error.text, words)
  return true
}

for (const database of DATABASES) {
  test(`${database}: a console link leads to the screen of its server, through the whole RFB handshake`, async () => {
    await using cloud = await testCloud({ database, servers: { web: {} } })
    const { socket } = await askForConsole(cloud)
    const headers = { origin: await listening(cloud) }
    await using console = await RfbClient.open(socket, { headers, protocols: ['binary'] })
    assert.equal(console.socket.protocol, 'binary')
    assert.equal(console.socket.extensions, '')
    const screen = await console.handshake()
    assert.deepEqual(screen, { width: 320, height: 200, name: cloud.id.web })
    const frame = await console.readFrame(320, 200)
    assert.equal(frame.length, 320 * 200 * 4)
  })

  test(`${database}: a console link opens one console, once`, async () => {
    await using cloud = await testCloud({ database, servers: { web: {} } })
    const { socket } = await askForConsole(cloud)
    await using first = await open(socket)
    await assert.rejects(open(socket), isRefused(401, /used before.*new one/))
    await first.handshake()
  })

  test(`${database}: of several that come with one link at once, one gets in`, async () => {
    await using cloud = await testCloud({ database, servers: { web: {} } })
    const { socket } = await askForConsole(cloud)
    const tries = await Promise.allSettled(Array.from({ length: 5 }, () => open(socket)))
    const opened = tries.filter((one) => one.status === 'fulfilled')
    for (const one of opened) await one.value[Symbol.asyncDispose]()
    assert.equal(opened.length, 1)
    for (const one of tries) if (one.status === 'rejected') isRefused(401, /used before/)(one.reason)
  })

  test(`${database}: a console link expires`, async () => {
    await using cloud = await testCloud({ database, config: { consoleMinutes: 10 }, servers: { web: {} } })
    const [late, inTime] = [await askForConsole(cloud), await askForConsole(cloud)]
    cloud.clock.advance(10 * MINUTE_MS - 1)
    await using opened = await open(inTime.socket)
    cloud.clock.advance(1)
    await assert.rejects(open(late.socket), isRefused(401, /expired.*new one/))
    await opened.handshake()
  })

  test(`${database}: the database holds no token, and forgets the old ones`, async () => {
    await using cloud = await testCloud({ database, servers: { web: {} } })
    const { token } = await askForConsole(cloud)
    const list = () => cloud.cloud.db.read.selectFrom('consoleTokens').selectAll().execute()
    const [row] = await list()
    assert.match(row?.hash ?? '', /^[0-9a-f]{64}$/)
    assert.ok(!JSON.stringify(row).includes(token))
    cloud.clock.advance(25 * 60 * MINUTE_MS)
    await askForConsole(cloud)
    assert.equal((await list()).length, 1)
  })

  test(`${database}: a link that nobody gave out opens nothing`, async () => {
    await using cloud = await testCloud({ database })
    const base = await listening(cloud)
    for (const query of [
      '',
      '?token=',
      '?token=36f6426d-1366-4734-af15-c81560becd77',
      "?token=' or 1=1 --",
      '?other=x',
    ]) {
      await assert.rejects(open(`${base}/websockify${query}`), isRefused(401, /not valid.*new one/))
    }
  })
}

test('a page of another site cannot open a console, and does not use the link up', async () => {
  await using cloud = await testCloud({ servers: { web: {} } })
  const { socket } = await askForConsole(cloud)
  const { host } = new URL(socket)
  for (const origin of [
    'https://evil.example',
    'null',
    `http://${host}.evil.example`,
    `http://evil@${host}x`,
    'file://',
  ]) {
    await assert.rejects(open(socket, { origin }), isRefused(403, /only from pages of this cloud/), origin)
  }
  await using console = await open(socket, { origin: `http://${host}` })
  await console.handshake()
})

test('behind a proxy the public address is an origin of ours', async () => {
  await using cloud = await testCloud({ config: { publicUrl: 'https://cloud.example' }, servers: { web: {} } })
  const { token } = await askForConsole(cloud)
  const socket = `${await listening(cloud)}/websockify?token=${token}`
  await assert.rejects(open(socket, { origin: 'http://cloud.example' }), isRefused(403, /only from pages/))
  await using console = await open(socket, { origin: 'https://cloud.example' })
  await console.handshake()
})

test('a server that does not run refuses its console, and the link stays good for when it does', async () => {
  await using cloud = await testCloud({ servers: { web: {} } })
  const { socket } = await askForConsole(cloud)
  cloud.host.powerOffFromInside(cloud.id.web ?? '')
  await assert.rejects(open(socket), isRefused(409, /not running.*Start it/))
  await cloud.settled()
  await cloud.advanceUntil(async () => (await cloud.server('web')).vmState === 'stopped')
  assert.equal((await cloud.member.post(`/servers/${cloud.id.web}/action`, { 'os-start': null })).statusCode, 202)
  await cloud.settled()
  await using console = await open(socket)
  await console.handshake()
})

test('a console closes when its guest ends, and says so', async () => {
  await using cloud = await testCloud({ servers: { web: {} } })
  const { socket } = await askForConsole(cloud)
  await using console = await open(socket)
  await console.handshake()
  cloud.host.powerOffFromInside(cloud.id.web ?? '')
  assert.deepEqual(await console.closed, { code: 1000, reason: 'The screen of the server has ended.' })
})

test('a console closes when its server is deleted, and its other links are good for nothing', async () => {
  await using cloud = await testCloud({ servers: { web: {} } })
  const [{ socket }, other] = [await askForConsole(cloud), await askForConsole(cloud)]
  await using console = await open(socket)
  await cloud.member.delete(`/servers/${cloud.id.web}`)
  await cloud.settled()
  assert.equal((await console.closed).code, 1000)
  await assert.rejects(open(other.socket), isRefused(401, /not valid/))
})

test('the end of Novella closes all consoles', async () => {
  await using cloud = await testCloud({ servers: { web: {} } })
  const consoles = [await open((await askForConsole(cloud)).socket), await open((await askForConsole(cloud)).socket)]
  await cloud.app.close()
  for (const console of consoles) {
    assert.deepEqual(await console.closed, { code: 1001, reason: 'Novella is stopping.' })
  }
})

test('a client that vanished without a word is let go', async () => {
  await using cloud = await testCloud({ servers: { web: {} } })
  const { socket } = await askForConsole(cloud)
  await using console = await RfbClient.open(socket, { autoPong: false })
  await console.handshake()
  cloud.clock.advance(30_000)
  await until('the client was pinged', () => console.pings > 0)
  cloud.clock.advance(30_000)
  assert.equal((await console.closed).code, 1006)
})

test('the plain address of a WebSocket tells why it would refuse, and uses nothing up', async () => {
  await using cloud = await testCloud({ servers: { web: {} } })
  const { token, socket } = await askForConsole(cloud)
  const ask = (what = token) => cloud.app.inject({ url: `/websockify?token=${what}` })
  const ready = await ask()
  assert.equal(ready.statusCode, 400)
  assert.match(ready.json().badRequest.message, /ready.*WebSocket/)
  assert.equal(ready.headers['cache-control'], 'no-store')
  await using console = await open(socket)
  await console.handshake()
  const used = await ask()
  assert.equal(used.statusCode, 401)
  assert.match(used.json().unauthorized.message, /used before/)
  assert.equal((await ask('nonsense')).statusCode, 401)
})

test('other offers to upgrade are not taken for consoles', async () => {
  await using cloud = await testCloud()
  const { hostname, port } = new URL(await listening(cloud))
  // What Java's HTTP client sends with its first request: HTTP/2 if you like.
  const answer = await exchange(
    { hostname, port },
    'GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAAAAYABgAA\r\n\r\n',
  )
  assert.match(answer, /^HTTP\/1\.1 200 /)
  const malformed = await exchange(
    { hostname, port },
    'GET /websockify?token=x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n',
  )
  assert.match(malformed, /^HTTP\/1\.1 401 /)
})

async function exchange(to: { hostname: string; port: string }, request: string): Promise<string> {
  const socket = connect(Number(to.port), to.hostname)
  socket.write(request)
  const answer = await readAll(socket)
  return answer.toString('latin1')
}

test('a token is in no log line, opened or refused', async () => {
  await using cloud = await testCloud({ servers: { web: {} } })
  const { token, socket } = await askForConsole(cloud)
  await cloud.app.inject({ url: `/vnc/vnc_auto.html?token=${token}` })
  await assert.rejects(open(socket, { origin: 'https://evil.example' }))
  {
    await using console = await open(socket)
    await console.handshake()
  }
  await assert.rejects(open(socket))
  await cloud.app.inject({ url: `/websockify?token=${token}` })
  await until('the console is closed', () => cloud.logged.some((line) => line.includes('a console was closed')))
  assert.ok(cloud.logged.some((line) => line.includes('a console was opened')))
  assert.deepEqual(
    cloud.logged.filter((line) => line.includes(token)),
    [],
  )
})

test('a strange project cannot ask for a console of a server it does not own', async () => {
  await using cloud = await testCloud({ servers: { web: {} } })
  const stranger = await cloud.stranger()
  const answer = await stranger.post(`/servers/${cloud.id.web}/action`, { 'os-getVNCConsole': { type: 'novnc' } })
  assert.equal(answer.statusCode, 404)
  assert.equal((await cloud.cloud.db.read.selectFrom('consoleTokens').selectAll().execute()).length, 0)
})

const MIB = 1_048_576

/** A screen that sends `bytes` as fast as it may, and takes nothing until it is told to. */
class FloodedScreen extends Duplex {
  sent = 0
  taken = 0
  isTaking = false
  readonly #bytes: number
  #resume = () => {}

  constructor(bytes: number) {
    super()
    this.#bytes = bytes
  }

  override _read(size: number): void {
    if (this.sent >= this.#bytes) return
    const chunk = Buffer.alloc(Math.min(size, this.#bytes - this.sent))
    this.sent += chunk.length
    this.push(chunk)
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#resume = () => {
      this.taken += chunk.length
      done()
    }
    if (this.isTaking) this.#resume()
  }

  startTaking(): void {
    this.isTaking = true
    this.#resume()
  }
}

/** Resolves when the number has stood still for a while. */
async function still(what: string, read: () => number): Promise<number> {
  let [last, times] = [read(), 0]
  await until(`${what} stands still`, () => {
    times = read() === last ? times + 1 : 0
    last = read()
    return times === 10
  })
  return last
}

async function flooded(bytes: number) {
  const cloud = await testCloud({ servers: { web: {} } })
  const { socket } = await askForConsole(cloud)
  const screen = new FloodedScreen(bytes)
  cloud.host.intercept = (verb, _id, run) => (verb === 'openVnc' ? Promise.resolve(screen as never) : run())
  return { cloud, screen, console: await open(socket) }
}

test('a client that does not read stops the screen, instead of filling our memory', async () => {
  const { cloud, screen, console } = await flooded(64 * MIB)
  await using _ = cloud
  await using __ = console
  console.socket.pause()
  const sent = await still('the screen', () => screen.sent)
  assert.ok(sent < 32 * MIB, `${sent} bytes were taken from the screen`)
  console.socket.resume()
  await until('all of it arrived', () => console.received === 64 * MIB)
})

test('a screen that does not read stops the client, instead of filling our memory', async () => {
  const { cloud, screen, console } = await flooded(0)
  await using _ = cloud
  await using __ = console
  const message = Buffer.alloc(MIB / 2)
  for (let i = 0; i < 128; i++) console.socket.send(message)
  const waiting = await still('the client', () => console.socket.bufferedAmount)
  assert.ok(waiting > 32 * MIB, `only ${waiting} bytes wait on the side of the client`)
  screen.startTaking()
  await until('all of it arrived', () => screen.taken === 64 * MIB)
})
