import assert from 'node:assert/strict'
import { test } from 'node:test'
import { aboutToken, askToken, byPassword, byToken, passwordOf, tokenOf } from '../support/identity-requests.ts'
import { DATABASES, testCloud } from '../support/test-cloud.ts'

for (const database of DATABASES) {
  test(`${database}: a token shows itself as it was issued`, async () => {
    await using cloud = await testCloud({ database })
    const issued = await askToken(cloud, { identity: byPassword('demo', passwordOf(cloud, 'demo')) })
    const token = tokenOf(issued)
    const shown = await aboutToken(cloud, 'GET', token, token)
    assert.equal(shown.statusCode, 200)
    assert.equal(shown.headers['x-subject-token'], token)
    assert.deepEqual(shown.json(), issued.json())
    const head = await aboutToken(cloud, 'HEAD', token, token)
    assert.equal(head.statusCode, 200)
    assert.equal(head.headers['x-subject-token'], token)
    assert.equal(head.body, '')
  })

  test(`${database}: nocatalog leaves the catalogue out, on both ways to a token`, async () => {
    await using cloud = await testCloud({ database })
    const { token } = cloud.member
    for (const query of ['?nocatalog', '?nocatalog=1']) {
      const shown = (await aboutToken(cloud, 'GET', token, token, query)).json().token
      const issued = (await askToken(cloud, { identity: byToken(token) }, { url: `/v3/auth/tokens${query}` })).json()
        .token
      assert.equal(shown.catalog, undefined)
      assert.equal(issued.catalog, undefined)
      assert.equal(shown.project.name, 'demo')
    }
  })

  test(`${database}: revoking takes effect at once, everywhere, and for this token only`, async () => {
    await using cloud = await testCloud({ database })
    const { userId, projectId } = cloud.member
    const [token, child] = [
      tokenOf(await askToken(cloud, { identity: byPassword('demo', passwordOf(cloud, 'demo')) })),
      tokenOf(await askToken(cloud, { identity: byToken(cloud.member.token) })),
    ]
    const client = cloud.client(token, userId, projectId)
    assert.equal((await client.get('/servers')).statusCode, 200)
    const gone = await aboutToken(cloud, 'DELETE', token, token)
    assert.equal(gone.statusCode, 204)
    assert.equal(gone.body, '')
    assert.equal((await client.get('/servers')).statusCode, 401)
    assert.equal((await aboutToken(cloud, 'GET', cloud.admin.token, token)).statusCode, 404)
    assert.equal((await aboutToken(cloud, 'DELETE', cloud.admin.token, token)).statusCode, 404)
    assert.equal((await askToken(cloud, { identity: byToken(token) })).statusCode, 401)
    assert.equal((await aboutToken(cloud, 'GET', child, child)).statusCode, 200)
    assert.equal((await cloud.member.get('/servers')).statusCode, 200)
  })

  test(`${database}: another user's token is an admin's business and nobody else's`, async () => {
    await using cloud = await testCloud({ database })
    const stranger = await cloud.stranger()
    const unknown = await aboutToken(cloud, 'GET', cloud.member.token, 'unknown')
    assert.equal(unknown.statusCode, 404)
    for (const method of ['GET', 'DELETE'] as const) {
      const answer = await aboutToken(cloud, method, stranger.token, cloud.member.token)
      assert.equal(answer.statusCode, 404)
      assert.equal(answer.body, unknown.body)
    }
    const shown = await aboutToken(cloud, 'GET', cloud.admin.token, cloud.member.token)
    assert.equal(shown.json().token.user.name, 'demo')
    assert.equal((await aboutToken(cloud, 'DELETE', cloud.admin.token, cloud.member.token)).statusCode, 204)
    assert.equal((await cloud.member.get('/servers')).statusCode, 401)
  })

  test(`${database}: a bad token of one's own is 401, no subject is 400`, async () => {
    await using cloud = await testCloud({ database })
    for (const own of ['', 'unknown']) {
      const answer = await aboutToken(cloud, 'GET', own, cloud.member.token)
      assert.equal(answer.statusCode, 401)
      assert.equal(answer.json().error.title, 'Unauthorized')
      assert.match(String(answer.headers['www-authenticate']), /^Keystone uri="http:.*\/identity"$/)
    }
    const without = await aboutToken(cloud, 'GET', cloud.member.token)
    assert.equal(without.statusCode, 400)
    assert.match(without.json().error.message, /X-Subject-Token/)
  })

  test(`${database}: a token ends with its time, with its user, with its project and with the last role`, async () => {
    await using cloud = await testCloud({ database })
    const { db, tokens } = cloud.cloud
    const check = async (token: string) => (await aboutToken(cloud, 'HEAD', token, token)).statusCode
    const short = tokenOf(await askToken(cloud, { identity: byPassword('demo', passwordOf(cloud, 'demo')) }))
    assert.equal(await check(short), 200)
    cloud.clock.advance(12 * 3_600_000 - 1)
    assert.equal(await check(short), 200)
    cloud.clock.advance(1)
    assert.equal(await check(short), 401)

    const [a, b, c] = [await cloud.stranger(), await cloud.stranger(), await cloud.stranger()]
    for (const { token } of [a, b, c]) assert.equal(await check(token), 200)
    await db.transaction(async (tx) => {
      await tx.updateTable('users').set({ isEnabled: 0 }).where('id', '=', a.userId).execute()
      await tx.updateTable('projects').set({ isEnabled: 0 }).where('id', '=', b.projectId).execute()
      await tx.deleteFrom('roleAssignments').where('userId', '=', c.userId).execute()
      tx.onCommit(() => tokens.forget())
    })
    for (const { token } of [a, b, c]) assert.equal(await check(token), 401)
  })
}
