import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { passwordOf } from '../support/identity-requests.ts'
import { DATABASES, type TestCloud, testCloud } from '../support/test-cloud.ts'

const URLS = ['/v3/auth/tokens', '/identity/v3/auth/tokens', '/v2.0/tokens'] as const

const post = (cloud: TestCloud, url: string, payload: string, headers: Record<string, string> = {}) =>
  cloud.app.inject({
    method: 'POST',
    url,
    payload,
    headers: { 'content-type': 'application/json', ...headers },
    // Elsewhere each time, so that the failures do not add up to a pause.
    remoteAddress: `10.${Array.from({ length: 3 }, () => Math.floor(Math.random() * 256)).join('.')}`,
  })

for (const database of DATABASES) {
  test(`${database}: what cannot be understood is refused with what is wrong, in Keystone's shape`, async () => {
    await using cloud = await testCloud({ database })
    const user = { name: 'demo', domain: { id: 'default' }, password: passwordOf(cloud, 'demo') }
    const identity = { methods: ['password'], password: { user } }
    const withUser = (change: object) => ({
      auth: { identity: { ...identity, password: { user: { ...user, ...change } } } },
    })
    const refusals: [unknown, RegExp][] = [
      [undefined, /body/],
      [null, /body/],
      [[], /body/],
      ['auth', /body/],
      [{}, /auth/],
      [{ auth: null }, /auth/],
      [{ auth: {} }, /identity/],
      [{ auth: { identity: {} } }, /methods/],
      [{ auth: { identity: { ...identity, methods: 'password' } } }, /methods/],
      [{ auth: { identity: { ...identity, methods: [] } } }, /methods/],
      [{ auth: { identity: { ...identity, methods: [1] } } }, /methods/],
      [{ auth: { identity: { methods: ['password'] } } }, /lacks the member 'password'/],
      [{ auth: { identity: { methods: ['token'] } } }, /lacks the member 'token'/],
      [{ auth: { identity: { methods: ['token'], token: { id: 7 } } } }, /token\.id/],
      [withUser({ domain: undefined }), /domain/],
      [withUser({ domain: {} }), /domain/],
      [withUser({ domain: 'default' }), /domain/],
      [withUser({ domain: { id: 1 } }), /domain\.id/],
      [withUser({ name: undefined }), /id, or a name/],
      [withUser({ name: 5 }), /name/],
      [withUser({ name: 'a\0b' }), /name/],
      [withUser({ name: 'x'.repeat(256) }), /name/],
      [withUser({ password: undefined }), /password/],
      [withUser({ password: 1 }), /password/],
      [withUser({ password: 'x'.repeat(4097) }), /password/],
      [{ auth: { identity, scope: null } }, /scope/],
      [{ auth: { identity, scope: 'all' } }, /scope/],
      [{ auth: { identity, scope: {} } }, /exactly one/],
      [{ auth: { identity, scope: { project: { id: 'x' }, domain: { id: 'default' } } } }, /exactly one/],
      [{ auth: { identity, scope: { project: {} } } }, /scope\.project/],
      [{ auth: { identity, scope: { project: { name: 'demo' } } } }, /domain/],
      [{ auth: { identity, scope: { project: 'demo' } } }, /scope\.project/],
    ]
    for (const [body, text] of refusals) {
      const answer = await post(cloud, '/v3/auth/tokens', JSON.stringify(body) ?? '')
      const what = JSON.stringify(body)?.slice(0, 200)
      assert.equal(answer.statusCode, 400, `${what}: ${answer.body}`)
      const { error } = answer.json()
      assert.deepEqual({ ...error, message: '' }, { code: 400, title: 'Bad Request', message: '' })
      assert.match(error.message, text, what)
    }
  })

  test(`${database}: broken, deep, huge and foreign bodies are the caller's fault`, async () => {
    await using cloud = await testCloud({ database })
    for (const url of URLS) {
      for (const [payload, status] of [
        ['{', 400],
        ['{"auth": {"__proto__": {}}}', 400],
        [`${'['.repeat(100_000)}${']'.repeat(100_000)}`, 400],
        [`{"auth":${'{"a":'.repeat(50_000)}1${'}'.repeat(50_000)}}`, 400],
        [`{"auth":"${'x'.repeat(1_100_000)}"}`, 413],
      ] as const) {
        const answer = await post(cloud, url, payload)
        assert.equal(answer.statusCode, status, payload.slice(0, 40))
        assert.equal(answer.json().error.code, status)
      }
      const xml = await post(cloud, url, '<auth/>', { 'content-type': 'application/xml' })
      assert.equal(xml.statusCode, 415)
      assert.equal(xml.json().error.code, 415)
      const put = await cloud.app.inject({ method: 'PUT', url, payload: {} })
      assert.equal(put.statusCode, 405)
      assert.match(String(put.headers.allow), /POST/)
      assert.equal(put.json().error.code, 405)
    }
    const unknown = await cloud.app.inject({ url: '/v3/auth/receipts' })
    assert.equal(unknown.statusCode, 404)
    assert.equal(unknown.json().error.title, 'Not Found')
  })

  test(`${database}: a method we do not have is 401, and says which there are`, async () => {
    await using cloud = await testCloud({ database })
    const body = { auth: { identity: { methods: ['totp'], totp: { user: { id: 'x', passcode: '1' } } } } }
    const answer = await post(cloud, '/v3/auth/tokens', JSON.stringify(body))
    assert.equal(answer.statusCode, 401)
    assert.match(answer.json().error.message, /password or token/)
  })

  test(`${database}: no body whatever ends in a 5xx or in a token`, async () => {
    await using cloud = await testCloud({ database })
    const password = passwordOf(cloud, 'demo')
    const odd = fc.oneof(
      fc.constantFrom<unknown>(
        null,
        '',
        'default',
        'Default',
        'demo',
        'unscoped',
        '\0',
        '\ud800',
        "'; --",
        0,
        -1,
        1e308,
        true,
        [],
        {},
      ),
      fc.string({ unit: 'binary', maxLength: 30 }),
      fc.jsonValue({ maxDepth: 3 }),
    )
    // Shaped like the real thing, with something odd in one place or another.
    const domain = fc.oneof(odd, fc.record({ id: odd, name: odd }, { requiredKeys: [] }))
    const named = fc.record({ id: odd, name: odd, domain, password: odd }, { requiredKeys: [] })
    const scope = fc.oneof(odd, fc.record({ project: named, domain, system: odd }, { requiredKeys: [] }))
    const methods = fc.oneof(
      odd,
      fc.array(fc.constantFrom('password', 'token', 'totp', 'constructor', '__proto__'), { maxLength: 3 }),
    )
    const identity = fc.record(
      { methods, password: fc.record({ user: named }), token: fc.record({ id: odd }) },
      { requiredKeys: ['methods'] },
    )
    const credentials = fc.record({ username: odd, userId: odd, password: odd }, { requiredKeys: [] })
    const auth = fc.oneof(
      odd,
      fc.record({ identity, scope }, { requiredKeys: ['identity'] }),
      fc.record(
        { passwordCredentials: credentials, token: fc.record({ id: odd }), tenantId: odd, tenantName: odd },
        { requiredKeys: [] },
      ),
    )
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...URLS), fc.record({ auth }), async (url, body) => {
        const answer = await post(cloud, url, JSON.stringify(body))
        assert.ok([400, 401].includes(answer.statusCode), `${answer.statusCode}: ${answer.body}`)
        assert.deepEqual(Object.keys(answer.json().error).sort(), ['code', 'message', 'title'])
        assert.ok(!answer.body.includes(password))
      }),
      { numRuns: 300 },
    )
  })

  test(`${database}: no header makes reading a token fail`, async () => {
    await using cloud = await testCloud({ database })
    await fc.assert(
      fc.asyncProperty(fc.string({ maxLength: 60 }), fc.boolean(), async (odd, isOwn) => {
        const headers = isOwn
          ? { 'x-auth-token': odd, 'x-subject-token': cloud.member.token }
          : { 'x-auth-token': cloud.member.token, 'x-subject-token': odd }
        const answer = await cloud.app.inject({ url: '/v3/auth/tokens', headers })
        assert.equal(answer.statusCode, isOwn ? 401 : odd === '' ? 400 : 404)
      }),
      { numRuns: 100 },
    )
  })
}
