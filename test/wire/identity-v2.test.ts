import assert from 'node:assert/strict'
import { test } from 'node:test'
import { passwordOf } from '../support/identity-requests.ts'
import { DATABASES, type TestCloud, testCloud } from '../support/test-cloud.ts'

const ask = (cloud: TestCloud, auth: unknown) =>
  cloud.app.inject({ method: 'POST', url: '/v2.0/tokens', payload: { auth } as object })

for (const database of DATABASES) {
  test(`${database}: v2.0 gives a token for a password, in its own shape`, async () => {
    await using cloud = await testCloud({ database })
    const { userId, projectId } = cloud.member
    const passwordCredentials = { username: 'demo', password: passwordOf(cloud, 'demo') }
    const answer = await ask(cloud, { passwordCredentials, tenantName: 'demo' })
    assert.equal(answer.statusCode, 200)
    const { access } = answer.json()
    assert.equal(access.token.expires, '2026-11-25T00:00:00Z')
    assert.equal(access.token.issued_at, '2026-11-24T12:00:00.000000')
    assert.deepEqual(access.token.tenant, {
      id: projectId,
      name: 'demo',
      description: access.token.tenant.description,
      enabled: true,
    })
    assert.deepEqual(access.user, {
      id: userId,
      name: 'demo',
      username: 'demo',
      roles: [{ name: 'member' }, { name: 'reader' }],
      roles_links: [],
    })
    assert.equal(access.metadata.is_admin, 0)
    assert.equal(access.metadata.roles.length, 2)
    const compute = access.serviceCatalog.find((entry: { type: string }) => entry.type === 'compute')
    const url = 'http://localhost:80/compute/v2.1'
    assert.deepEqual(compute, {
      type: 'compute',
      name: 'nova',
      endpoints: [{ id: compute.endpoints[0].id, region: 'bj1', publicURL: url, internalURL: url, adminURL: url }],
      endpoints_links: [],
    })
    assert.equal((await cloud.client(access.token.id, userId, projectId).get('/servers')).statusCode, 200)
  })

  test(`${database}: v2.0 takes the user and the tenant by id or name, and a token for a password`, async () => {
    await using cloud = await testCloud({ database })
    const { userId, projectId, token } = cloud.member
    const password = passwordOf(cloud, 'demo')
    const proofs = [
      { passwordCredentials: { username: 'demo', password } },
      { passwordCredentials: { userId, password } },
      { token: { id: token } },
    ]
    for (const proof of proofs) {
      for (const scope of [{ tenantId: projectId }, { tenantName: 'demo' }, { tenantName: '' }, {}]) {
        const answer = await ask(cloud, { ...proof, ...scope })
        assert.equal(answer.statusCode, 200, answer.body)
        assert.equal(answer.json().access.token.tenant.id, projectId)
      }
    }
  })

  test(`${database}: v2.0 without a tenant to be in gives a token without a catalogue`, async () => {
    await using cloud = await testCloud({ database })
    await cloud.cloud.db.transaction((tx) => tx.updateTable('users').set({ defaultProjectId: null }).executeTakeFirst())
    const { access } = (await ask(cloud, { token: { id: cloud.member.token } })).json()
    assert.deepEqual(access.serviceCatalog, [])
    assert.deepEqual(access.user.roles, [])
    assert.equal(access.token.tenant, undefined)
  })

  test(`${database}: v2.0 refuses as v3 does`, async () => {
    await using cloud = await testCloud({ database })
    const texts = new Set<string>()
    const password = passwordOf(cloud, 'demo')
    for (const auth of [
      { passwordCredentials: { username: 'demo', password: 'wrong' } },
      { passwordCredentials: { username: 'nobody', password } },
      { passwordCredentials: { username: 'demo', password }, tenantName: 'admin' },
      { token: { id: 'unknown' } },
    ]) {
      const answer = await ask(cloud, auth)
      assert.equal(answer.statusCode, 401)
      assert.match(String(answer.headers['www-authenticate']), /^Keystone uri=/)
      texts.add(answer.body)
    }
    assert.equal(texts.size, 1)
    for (const auth of [
      undefined,
      null,
      {},
      [],
      { passwordCredentials: { password } },
      { tenantName: 'demo' },
      { token: {} },
    ]) {
      const answer = await ask(cloud, auth)
      assert.equal(answer.statusCode, 400, JSON.stringify(auth))
      assert.equal(answer.json().error.title, 'Bad Request')
    }
  })
}
