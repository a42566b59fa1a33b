/** `os-getSerialConsole` and the WebSocket that its link opens. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { HostError } from '../../src/host/host-driver.ts'
import { assertFault } from '../support/assert-fault.ts'
import { HandshakeRefused, RfbClient } from '../support/rfb-client.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { DATABASES, type TestCloud, testCloud } from '../support/test-cloud.ts'
import { until } from '../support/until.ts'

const MINUTE_MS = 60_000

const ask = (cloud: TestCloud, body: unknown, name = 'web') =>
  cloud.member.post(`/servers/${cloud.id[name] ?? name}/action`, { 'os-getSerialConsole': body })

async function listening(cloud: TestCloud): Promise<string> {
  if (!cloud.app.server.listening) await cloud.app.listen({ host: '127.0.0.1', port: 0 })
  const address = cloud.app.server.address()
  assert.ok(address !== null && typeof address === 'object')
  return `127.0.0.1:${address.port}`
}

/** A fresh link to the serial console of a server, and its token. */
async function linkTo(cloud: TestCloud, name = 'web'): Promise<{ url: string; token: string }> {
  const { id } = cloud
  const wish = { 'os-getSerialConsole': { type: 'serial' } }
  const answer = await cloud.member.post(`/servers/${id[name]}/action`, wish, { host: await listening(cloud) })
  assert.equal(answer.statusCode, 200, answer.body)
  const { url } = answer.json().console
  return { url, token: new URL(url).searchParams.get('token') ?? '' }
}

const refuses = (status: number, words: RegExp) => (error: unknown) => {
  assert.ok(error instanceof HandshakeRefused, String(error))
  assert.equal(error.status, status)
  assert.match(error.text, words)
  return true
}

/** Reads until the text has come. */
async function readUntil(client: RfbClient, text: string): Promise<string> {
  let seen = ''
  while (!seen.includes(text)) seen += (await client.read(1)).toString('latin1')
  return seen
}

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database, servers: { web: {}, young: {}, going: {} } })

    test('the answer is the address of a WebSocket, and of one type', async () => {
      const answer = await ask(shared(), { type: 'serial' })
      assert.equal(answer.statusCode, 200)
      assert.deepEqual(Object.keys(answer.json()), ['console'])
      assert.equal(answer.json().console.type, 'serial')
      assert.match(answer.json().console.url, /^ws:\/\/[^/]+\/serial\?token=[0-9a-f-]{36}$/)
      assertFault(await ask(shared(), { type: 'novnc' }), 400, /novnc.*not available.*serial/)
      for (const body of [null, {}, { type: null }, { type: 1 }, [], 'serial']) {
        assert.equal((await ask(shared(), body)).statusCode, 400, JSON.stringify(body))
      }
    })

    test('behind TLS the address is one for TLS', async () => {
      const cloud = shared()
      const wish = { 'os-getSerialConsole': { type: 'serial' } }
      const answer = await cloud.member.post(`/servers/${cloud.id.web}/action`, wish, { 'x-forwarded-proto': 'https' })
      assert.match(answer.json().console.url, /^wss:/)
    })

    test('a server that never ran, one that goes, one that is not there, and one of others have none', async () => {
      const cloud = shared()
      const change = (name: string, values: object) =>
        cloud.cloud.db.transaction((tx) =>
          tx
            .updateTable('servers')
            .set(values)
            .where('id', '=', cloud.id[name] ?? '')
            .execute(),
        )
      await change('young', { launchedAt: null })
      assertFault(await ask(cloud, { type: 'serial' }, 'young'), 409, /not ready/)
      await change('going', { taskState: 'deleting' })
      assertFault(await ask(cloud, { type: 'serial' }, 'going'), 409, /get_serial_console.*deleting/)
      await change('going', { taskState: null })
      assertFault(await ask(cloud, { type: 'serial' }, '36f6426d-1366-4734-af15-c81560becd77'), 404, /./)
      const stranger = await cloud.stranger()
      const wish = { 'os-getSerialConsole': { type: 'serial' } }
      assertFault(await stranger.post(`/servers/${cloud.id.web}/action`, wish), 404, /./)
    })

    test('a link opens one console, once, and shows what was said and what is typed', async () => {
      const cloud = shared()
      cloud.host.print(cloud.id.web ?? '', 'said before')
      const { url } = await linkTo(cloud)
      await using client = await RfbClient.open(url, { protocols: ['binary'] })
      assert.equal(client.socket.protocol, 'binary')
      await readUntil(client, 'said before')
      client.socket.send(Buffer.from('ls\r'))
      assert.equal((await client.read(4)).toString(), 'ls\r\n')
      await assert.rejects(RfbClient.open(url), refuses(401, /used before/))
    })

    test('a token opens only what it is for, is stored as a hash, and expires', async () => {
      const cloud = shared()
      const host = await listening(cloud)
      const { url, token } = await linkTo(cloud)
      await assert.rejects(RfbClient.open(`ws://${host}/websockify?token=${token}`), refuses(401, /not valid/))
      assert.equal((await cloud.app.inject(`/websockify?token=${token}`)).statusCode, 401)
      const screen = await cloud.member.post(`/servers/${cloud.id.web}/action`, {
        'os-getVNCConsole': { type: 'novnc' },
      })
      const other = new URL(screen.json().console.url).searchParams.get('token')
      await assert.rejects(RfbClient.open(`ws://${host}/serial?token=${other}`), refuses(401, /not valid/))
      const rows = await cloud.cloud.db.read.selectFrom('consoleTokens').selectAll().execute()
      assert.ok(rows.some(({ type, hash }) => type === 'serial' && /^[0-9a-f]{64}$/.test(hash)))
      assert.ok(!JSON.stringify(rows).includes(token))
      {
        await using client = await RfbClient.open(url)
        await readUntil(client, 'login:')
      }
      const late = await linkTo(cloud)
      cloud.clock.advance(cloud.cloud.config.consoleMinutes * MINUTE_MS)
      await assert.rejects(RfbClient.open(late.url), refuses(401, /expired/))
      await until('it is closed', () => cloud.logged.some((line) => line.includes('a console was closed')))
      assert.deepEqual(
        cloud.logged.filter((line) => line.includes(token) || line.includes(late.token)),
        [],
      )
    })
  })
}

test('a page of another site opens no serial console, and a reader asks for none', async () => {
  await using cloud = await testCloud({ servers: { web: {} } })
  const { url } = await linkTo(cloud)
  const origin = 'https://evil.example'
  await assert.rejects(RfbClient.open(url, { headers: { origin } }), refuses(403, /only from pages of this cloud/))
  {
    await using client = await RfbClient.open(url, { headers: { origin: `http://${await listening(cloud)}` } })
    await readUntil(client, 'login:')
  }
  await cloud.cloud.db.transaction(async (tx) => {
    const { id } = await tx.selectFrom('roles').select('id').where('name', '=', 'reader').executeTakeFirstOrThrow()
    await tx.updateTable('roleAssignments').set({ roleId: id }).where('userId', '=', cloud.member.userId).execute()
  })
  cloud.cloud.tokens.forget()
  assertFault(await ask(cloud, { type: 'serial' }), 403, /servers:console/)
})

test('a server that does not run refuses, and so does a guest without a serial console, with what helps', async () => {
  await using cloud = await testCloud({ servers: { web: {} } })
  const { url, token } = await linkTo(cloud)
  cloud.host.intercept = (verb, _id, run) => {
    if (verb === 'openSerial') throw new HostError('notPlugged', 'A hard reboot gives it one.')
    return run()
  }
  await assert.rejects(RfbClient.open(url), refuses(409, /hard reboot/))
  cloud.host.intercept = (_verb, _id, run) => run()
  cloud.host.powerOffFromInside(cloud.id.web ?? '')
  await assert.rejects(RfbClient.open(url), refuses(409, /not running.*Start it/))
  assert.equal((await cloud.app.inject(`/serial?token=${token}`)).statusCode, 409)
  await cloud.advanceUntil(async () => (await cloud.server('web')).vmState === 'stopped')
  await cloud.member.post(`/servers/${cloud.id.web}/action`, { 'os-start': null })
  await cloud.settled()
  const ready = await cloud.app.inject(`/serial?token=${token}`)
  assert.match(ready.json().badRequest.message, /ready.*WebSocket/)
  await using client = await RfbClient.open(url)
  await readUntil(client, 'login:')
  cloud.host.powerOffFromInside(cloud.id.web ?? '')
  assert.deepEqual(await client.closed, { code: 1000, reason: 'The serial console of the server has ended.' })
})
