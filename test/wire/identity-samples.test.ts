/** The sample requests of Keystone's documentation, with the ids and secrets of this cloud in the place of theirs. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { passwordOf, tokenOf } from '../support/identity-requests.ts'
import { DATABASES, type TestCloud, testCloud } from '../support/test-cloud.ts'

const read = (name: string) => readFileSync(new URL(`../fixtures/identity/${name}.json`, import.meta.url), 'utf8')

function request(cloud: TestCloud, name: string): string {
  const { userId, projectId, token } = cloud.admin
  return read(`${name}.request`)
    .replace(/"(ee4dfb6e5540447cb3741905149d9b6e|423f19a4ac1e4f48bbb4180756e6eb6c)"/g, JSON.stringify(userId))
    .replace(/"(a6944d763bf64ee6a275f1263fae0352|5b50efd009b540559104ee3c03bbb2b7)"/g, JSON.stringify(projectId))
    .replace(`"'$OS_TOKEN'"`, JSON.stringify(token))
    .replace('"devstacker"', JSON.stringify(passwordOf(cloud, 'admin')))
}

/** Members and the types of their values; of a list, those of its first item. */
function shape(value: unknown): unknown {
  if (Array.isArray(value)) return value.length === 0 ? [] : [shape(value[0])]
  if (value === null || typeof value !== 'object') return typeof value
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, member]) => [key, shape(member)]),
  )
}

const SCOPED = [
  'project-id-password',
  'project-name-password',
  'auth-password-unscoped',
  'auth-password-unscoped-with-domain',
]
const RESCOPED = ['project-id-token', 'project-name-token', 'auth-token-scoped', 'auth-token-unscoped']
const UNSCOPED = ['auth-password-explicit-unscoped', 'auth-token-explicit-unscoped']
const REFUSED = [
  'domain-id-password',
  'domain-name-password',
  'domain-name-token',
  'system-password',
  'system-token',
  'project-id-totp',
]

for (const database of DATABASES) {
  test(`${database}: the samples get what they show, or a refusal where there is no such scope or method`, async () => {
    await using cloud = await testCloud({ database })
    const ask = (name: string) =>
      cloud.app.inject({
        method: 'POST',
        url: '/identity/v3/auth/tokens',
        payload: request(cloud, name),
        headers: { 'content-type': 'application/json' },
      })
    const comparable = (body: { token: { user: object } }) => {
      // Ours never expires, which Keystone writes as null.
      const { token } = body
      return shape({ token: { ...token, user: { ...token.user, password_expires_at: null } } })
    }
    for (const [names, sample] of [
      [SCOPED, 'project-scoped-password'],
      [RESCOPED, 'project-scoped-token'],
      [UNSCOPED, 'unscoped-password'],
    ] as const) {
      for (const name of names) {
        const answer = await ask(name)
        assert.equal(answer.statusCode, 201, `${name}: ${answer.body}`)
        assert.deepEqual(comparable(answer.json()), comparable(JSON.parse(read(`${sample}.response`))), name)
        const headers = { 'x-auth-token': tokenOf(answer), 'x-subject-token': tokenOf(answer) }
        const shown = await cloud.app.inject({ url: '/identity/v3/auth/tokens', headers })
        assert.deepEqual(shown.json(), answer.json(), name)
      }
    }
    for (const name of REFUSED) assert.equal((await ask(name)).statusCode, 401, name)
  })

  test(`${database}: the documents have at least the members of the samples`, async () => {
    await using cloud = await testCloud({ database })
    const headers = { 'x-auth-token': cloud.member.token }
    for (const [url, sample] of [
      ['/identity/v3/auth/catalog', 'get-service-catalog'],
      ['/identity/v3/auth/projects', 'get-available-project-scopes'],
      ['/identity/v3/', 'identity-version'],
      ['/identity', 'identity-versions'],
    ] as const) {
      const answer = shape((await cloud.app.inject({ url, headers })).json())
      assert.partialDeepStrictEqual(answer, shape(JSON.parse(read(`${sample}.response`))), url)
    }
  })
}
