/** What requests bring that is nobody's word: headers of proxies, secrets where none belong, paths that are none. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sql } from 'kysely'
import { byPassword } from '../support/identity-requests.ts'
import { type TestCloud, testCloud } from '../support/test-cloud.ts'

/** What was logged about a request. */
const loggedAbout = (cloud: TestCloud, requestId: unknown): string =>
  cloud.logged.filter((line) => line.includes(String(requestId))).join('')

test('a forwarded address counts for nothing unless a proxy was announced', async () => {
  await using cloud = await testCloud()
  const guess = (forwardedFor: string) =>
    cloud.app.inject({
      method: 'POST',
      url: '/v3/auth/tokens',
      headers: { 'x-forwarded-for': forwardedFor },
      payload: { auth: { identity: byPassword('demo', 'wrong') } },
    })
  for (let i = 0; i < 5; i++) assert.equal((await guess(`198.51.100.${i}`)).statusCode, 401)
  assert.equal((await guess('198.51.100.9')).statusCode, 429)
})

test('a forwarded scheme is https or http, whatever it says', async () => {
  await using cloud = await testCloud()
  const host = 'cloud.example'
  for (const [scheme, expected] of [
    ['https', 'https'],
    ['http', 'http'],
    ['javascript', 'http'],
    [`x"; script-src 'unsafe-inline'; y`, 'http'],
    ['https, http', 'http'],
  ] as const) {
    const headers = { host, 'x-forwarded-proto': scheme }
    const refused = await cloud.app.inject({ url: '/v2/p/servers', headers })
    assert.equal(refused.headers['www-authenticate'], `Keystone uri="${expected}://${host}/identity"`, scheme)
    const page = await cloud.app.inject({ url: '/', headers: { ...headers, accept: 'text/html' } })
    const policy = String(page.headers['content-security-policy'])
    assert.ok(policy.includes(`connect-src 'self' ${expected.replace('http', 'ws')}://${host}`), policy)
    assert.ok(!policy.includes('unsafe-inline'))
    const { versions } = (await cloud.app.inject({ url: '/', headers })).json()
    assert.equal(versions[0].links[0].href, `${expected}://${host}/v2/`)
  }
})

test('a token in a path stays out of the log', async () => {
  await using cloud = await testCloud()
  const { token } = cloud.member
  for (const url of [`/v2.0/tokens/${token}`, `/v3/nowhere/${token}`]) {
    const answer = await cloud.app.inject({ url, headers: { 'x-auth-token': cloud.admin.token } })
    assert.match(loggedAbout(cloud, answer.headers['x-openstack-request-id']), /"path":"\/v/, url)
  }
  assert.ok(cloud.logged.every((line) => !line.includes(token)))
})

test('a body that is no JSON stays out of the log, with the password in it', async () => {
  await using cloud = await testCloud()
  const answer = await cloud.app.inject({
    method: 'POST',
    url: '/v3/auth/tokens',
    headers: { 'content-type': 'application/json' },
    payload: '{"password": "hunter2hunter2" oops}',
  })
  assert.equal(answer.statusCode, 400)
  assert.match(loggedAbout(cloud, answer.headers['x-openstack-request-id']), /not valid JSON/)
  assert.ok(cloud.logged.every((line) => !line.includes('hunter2')))
})

test('a path that is none is answered like any other mistake', async () => {
  await using cloud = await testCloud()
  for (const [url, status, key] of [
    ['/v2/%zz', 400, 'badRequest'],
    ['/identity/v3/%zz', 400, 'error'],
    [`/v2/p/servers/${'x'.repeat(400)}`, 404, 'itemNotFound'],
  ] as const) {
    const answer = await cloud.app.inject({ url })
    assert.equal(answer.statusCode, status, url)
    assert.equal(answer.json()[key].code, status, url)
    assert.match(String(answer.headers['x-openstack-request-id']), /^req-/, url)
    assert.equal(answer.headers['x-compute-request-id'], answer.headers['x-openstack-request-id'], url)
  }
})

test('a request that does not arrive is not waited for without end', async () => {
  await using cloud = await testCloud()
  assert.ok(cloud.app.server.headersTimeout > 0 && cloud.app.server.headersTimeout <= 30_000)
  assert.ok(cloud.app.arrival.bodyMs > 0 && cloud.app.arrival.bodyMs <= 30_000)
})

test('on a full disk, writing says so and changes nothing, and reading goes on', async () => {
  await using cloud = await testCloud({ servers: { web: {} } })
  const pages = (count: number) =>
    cloud.cloud.db.transaction(async (tx) => {
      await sql.raw(`pragma max_page_count = ${count}`).execute(tx as never)
    })
  await pages(1)
  const wish = await cloud.wish({ name: 'more', user_data: Buffer.alloc(40_000).toString('base64') })
  const refused = await cloud.member.post('/servers', wish)
  assert.equal(refused.statusCode, 503)
  assert.match(refused.json().serviceUnavailable.message, /^The disk of Novella's data directory is full\./)
  assert.equal((await cloud.member.get('/servers')).json().servers.length, 1)
  await pages(1_000_000)
  assert.equal((await cloud.member.post('/servers', wish)).statusCode, 202)
})
