import assert from 'node:assert/strict'
import { test } from 'node:test'
import { askToken, byPassword, byToken, passwordOf, tokenOf } from '../support/identity-requests.ts'
import { DATABASES, type TestCloud, testCloud } from '../support/test-cloud.ts'

const HOUR_MS = 3_600_000
const inDefault = { domain: { id: 'default' } }

/** Turns something off behind the API, which cannot yet, and forgets what was read of it. */
async function disable(cloud: TestCloud, table: 'users' | 'projects', name: string): Promise<void> {
  await cloud.cloud.db.transaction((tx) =>
    tx.updateTable(table).set({ isEnabled: 0 }).where('name', '=', name).executeTakeFirst(),
  )
  cloud.cloud.tokens.forget()
}

for (const database of DATABASES) {
  test(`${database}: a password by name gets a token for the default project`, async () => {
    await using cloud = await testCloud({ database })
    const answer = await askToken(cloud, { identity: byPassword('demo', passwordOf(cloud, 'demo')) })
    assert.equal(answer.statusCode, 201)
    assert.match(tokenOf(answer), /^[\w-]{43}$/)
    const { token } = answer.json()
    assert.deepEqual(token.methods, ['password'])
    assert.deepEqual(token.user.domain, { id: 'default', name: 'Default' })
    assert.equal(token.user.id, cloud.member.userId)
    assert.deepEqual(token.project, {
      id: cloud.member.projectId,
      name: 'demo',
      domain: { id: 'default', name: 'Default' },
    })
    assert.deepEqual(
      token.roles.map((role: { name: string }) => role.name),
      ['member', 'reader'],
    )
    assert.equal(token.issued_at, '2026-11-24T12:00:00.000000Z')
    assert.equal(token.expires_at, '2026-11-25T00:00:00.000000Z')
    assert.equal(token.audit_ids.length, 1)
    assert.equal(token.is_domain, false)
    const used = await cloud.client(tokenOf(answer), cloud.member.userId, cloud.member.projectId).get('/servers')
    assert.equal(used.statusCode, 200)
  })

  test(`${database}: an admin's token shows the implied roles with their ids`, async () => {
    await using cloud = await testCloud({ database })
    const { token } = (await askToken(cloud, { identity: byPassword('admin', passwordOf(cloud, 'admin')) })).json()
    assert.deepEqual(
      token.roles.map((role: { name: string }) => role.name),
      ['admin', 'member', 'reader'],
    )
    for (const role of token.roles) assert.match(role.id, /^[0-9a-f]{32}$/)
  })

  test(`${database}: user and scope can be named by id, by name and domain id, by name and domain name`, async () => {
    await using cloud = await testCloud({ database })
    const password = passwordOf(cloud, 'demo')
    const users = [
      { id: cloud.member.userId },
      { name: 'demo', domain: { id: 'default' } },
      { name: 'demo', domain: { name: 'Default' } },
    ]
    const projects = [
      { id: cloud.member.projectId },
      { name: 'demo', domain: { id: 'default' } },
      { name: 'demo', domain: { name: 'Default' } },
    ]
    for (const url of ['/v3/auth/tokens', '/identity/v3/auth/tokens', '/v3/auth/tokens/']) {
      for (const user of users) {
        for (const project of projects) {
          const identity = { methods: ['password'], password: { user: { ...user, password, extra: [1] } } }
          const answer = await askToken(cloud, { identity, scope: { project }, unknown: true }, { url })
          assert.equal(answer.statusCode, 201, answer.body)
          assert.equal(answer.json().token.project.id, cloud.member.projectId)
        }
      }
    }
  })

  test(`${database}: without a scope and without a default project the token is unscoped`, async () => {
    await using cloud = await testCloud({ database })
    const identity = byPassword('demo', passwordOf(cloud, 'demo'))
    const explicit = (await askToken(cloud, { identity, scope: 'unscoped' })).json().token
    await disable(cloud, 'projects', 'demo')
    const useless = (await askToken(cloud, { identity })).json().token
    await cloud.cloud.db.transaction((tx) => tx.updateTable('users').set({ defaultProjectId: null }).executeTakeFirst())
    const implicit = (await askToken(cloud, { identity })).json().token
    for (const token of [explicit, useless, implicit]) {
      assert.deepEqual(Object.keys(token).sort(), ['audit_ids', 'expires_at', 'issued_at', 'methods', 'user'])
    }
  })

  test(`${database}: an unscoped token opens no compute, and can be made into one that does`, async () => {
    await using cloud = await testCloud({ database })
    const { userId, projectId } = cloud.member
    const unscoped = tokenOf(
      await askToken(cloud, { identity: byPassword('demo', passwordOf(cloud, 'demo')), scope: 'unscoped' }),
    )
    assert.equal((await cloud.client(unscoped, userId, projectId).get('/servers')).statusCode, 403)
    const scoped = await askToken(cloud, { identity: byToken(unscoped), scope: { project: { id: projectId } } })
    assert.equal(scoped.statusCode, 201)
    assert.equal((await cloud.client(tokenOf(scoped), userId, projectId).get('/servers')).statusCode, 200)
  })

  test(`${database}: a token got with a token expires with it and names the first of the chain`, async () => {
    await using cloud = await testCloud({ database })
    const first = await askToken(cloud, { identity: byPassword('demo', passwordOf(cloud, 'demo')) })
    cloud.clock.advance(HOUR_MS)
    const second = await askToken(cloud, { identity: byToken(tokenOf(first)), scope: 'unscoped' })
    cloud.clock.advance(HOUR_MS)
    const third = await askToken(cloud, { identity: byToken(tokenOf(second)) })
    const [one, two, three] = [first, second, third].map((answer) => answer.json().token)
    assert.equal(three.expires_at, one.expires_at)
    assert.equal(three.issued_at, '2026-11-24T14:00:00.000000Z')
    assert.deepEqual(three.methods, ['token', 'password'])
    assert.equal(three.project.name, 'demo')
    assert.equal(two.audit_ids[1], one.audit_ids[0])
    assert.equal(three.audit_ids[1], one.audit_ids[0])
    assert.equal(new Set([one, two, three].map((token) => token.audit_ids[0])).size, 3)
    cloud.clock.advance(10 * HOUR_MS)
    assert.equal((await askToken(cloud, { identity: byToken(tokenOf(third)) })).statusCode, 401)
  })

  test(`${database}: two proofs must be of one user`, async () => {
    await using cloud = await testCloud({ database })
    const identity = (token: string) => ({
      ...byPassword('demo', passwordOf(cloud, 'demo')),
      ...byToken(token),
      methods: ['password', 'token'],
    })
    assert.equal((await askToken(cloud, { identity: identity(cloud.member.token) })).statusCode, 201)
    assert.equal((await askToken(cloud, { identity: identity(cloud.admin.token) })).statusCode, 401)
  })

  test(`${database}: whatever is wrong, the refusal is the same`, async () => {
    await using cloud = await testCloud({ database })
    const stranger = await cloud.stranger()
    const right = byPassword('demo', passwordOf(cloud, 'demo'))
    const tries: Record<string, object> = {
      'wrong password': { identity: byPassword('demo', 'wrong') },
      'empty password': { identity: byPassword('demo', '') },
      'unknown name': { identity: byPassword('nobody', 'wrong') },
      'unknown id': { identity: { methods: ['password'], password: { user: { id: 'f'.repeat(32), password: 'x' } } } },
      'unknown domain': {
        identity: { methods: ['password'], password: { user: { name: 'demo', domain: { id: 'x' }, password: 'x' } } },
      },
      'unknown token': { identity: byToken('gAAAA') },
      'empty token': { identity: byToken('') },
      'unknown project': { identity: right, scope: { project: { id: 'f'.repeat(32) } } },
      'unknown project name': { identity: right, scope: { project: { name: 'none', ...inDefault } } },
      "another's project": { identity: right, scope: { project: { id: stranger.projectId } } },
      'no role there': { identity: right, scope: { project: { name: 'admin', ...inDefault } } },
      'no role there, by token': {
        identity: byToken(cloud.member.token),
        scope: { project: { name: 'admin', ...inDefault } },
      },
      'a domain': { identity: right, scope: { domain: { id: 'default' } } },
      'the system': { identity: right, scope: { system: { all: true } } },
    }
    const seen = new Set<string>()
    for (const [i, [what, auth]] of Object.entries(tries).entries()) {
      // Each from an address of its own: what is counted there is not the matter here.
      const remoteAddress = `10.0.0.${i}`
      const answer = await askToken(cloud, auth, { remoteAddress })
      assert.equal(answer.statusCode, 401, what)
      assert.equal(answer.headers['www-authenticate'], 'Keystone uri="http://localhost:80/identity"', what)
      assert.equal(answer.headers['x-subject-token'], undefined, what)
      seen.add(answer.body)
    }
    await disable(cloud, 'projects', 'demo')
    seen.add((await askToken(cloud, { identity: right, scope: { project: { name: 'demo', ...inDefault } } })).body)
    await disable(cloud, 'users', 'demo')
    seen.add((await askToken(cloud, { identity: right })).body)
    seen.add((await askToken(cloud, { identity: byToken(cloud.member.token) })).body)
    assert.deepEqual(
      [...seen].map((body) => JSON.parse(body)),
      [
        {
          error: {
            code: 401,
            title: 'Unauthorized',
            message: 'The request you have made requires authentication.',
          },
        },
      ],
    )
  })

  test(`${database}: a refused login leaves no token, and an expired one is swept by the next that is issued`, async () => {
    await using cloud = await testCloud({ database })
    const countTokens = async () => {
      const { n } = await cloud.cloud.db.read
        .selectFrom('tokens')
        .select((select) => select.fn.countAll().as('n'))
        .executeTakeFirstOrThrow()
      return Number(n)
    }
    const before = await countTokens()
    const right = byPassword('demo', passwordOf(cloud, 'demo'))
    await askToken(cloud, { identity: byPassword('demo', 'wrong') })
    await askToken(cloud, { identity: right, scope: { project: { name: 'admin', ...inDefault } } })
    assert.equal(await countTokens(), before)
    for (let i = 0; i < 30; i++) await askToken(cloud, { identity: byToken(cloud.member.token) })
    const short = await askToken(cloud, { identity: right })
    assert.equal(await countTokens(), before + 31)
    cloud.clock.advance(13 * HOUR_MS)
    assert.equal((await askToken(cloud, { identity: byToken(tokenOf(short)) })).statusCode, 401)
    // The 30 follow the token of a year they were got with, but last no longer than any other.
    await askToken(cloud, { identity: right })
    await askToken(cloud, { identity: right })
    assert.equal(await countTokens(), before + 2)
  })

  test(`${database}: no token and no password is stored or logged as it is`, async () => {
    await using cloud = await testCloud({ database })
    const password = passwordOf(cloud, 'demo')
    const token = tokenOf(await askToken(cloud, { identity: byPassword('demo', password) }))
    await askToken(cloud, { identity: byPassword('demo', `${password}x`) })
    await askToken(cloud, { identity: byToken(token) })
    const tokens = JSON.stringify(await cloud.cloud.db.read.selectFrom('tokens').selectAll().execute())
    const users = JSON.stringify(await cloud.cloud.db.read.selectFrom('users').selectAll().execute())
    for (const place of [tokens, users, cloud.logged.join('\n')]) {
      assert.ok(!place.includes(password))
      assert.ok(!place.includes(token))
    }
    assert.match(users, /\$scrypt\$ln=/)
    assert.match(cloud.logged.join('\n'), /a login was refused/)
  })
}
