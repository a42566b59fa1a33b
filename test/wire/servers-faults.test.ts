/** What every operation on servers refuses alike: tokens, projects, paths, methods, media types, sizes, roles. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { assertFault, assertRequestIds } from '../support/assert-fault.ts'
import { countRows } from '../support/count-rows.ts'
import { askToken, byPassword, passwordOf, tokenOf } from '../support/identity-requests.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { type Answer, DATABASES, type TestCloud } from '../support/test-cloud.ts'

const NOBODY = '11111111-1111-4111-8111-111111111111'

type Method = 'GET' | 'POST' | 'PUT' | 'DELETE'
interface Call {
  method: Method
  path: string
  body?: object
}

/** One good call of each operation on a server. */
const callsOn = (id: string): Call[] => [
  { method: 'GET', path: `/servers/${id}` },
  { method: 'PUT', path: `/servers/${id}`, body: { server: { name: 'new' } } },
  { method: 'DELETE', path: `/servers/${id}` },
  ...[
    { reboot: { type: 'SOFT' } },
    { 'os-start': null },
    { 'os-stop': null },
    { 'os-shutdown': null },
    { 'os-getConsoleOutput': {} },
    { 'os-getVNCConsole': { type: 'novnc' } },
  ].map((body): Call => ({ method: 'POST', path: `/servers/${id}/action`, body })),
]

const allCalls = async (cloud: TestCloud, id: string): Promise<Call[]> => [
  { method: 'GET', path: '/servers' },
  { method: 'GET', path: '/servers/detail' },
  { method: 'POST', path: '/servers', body: await cloud.wish() },
  ...callsOn(id),
]

/** Sends a call under a project, with the headers given and no others. */
const send = (cloud: TestCloud, { method, path, body }: Call, projectId: string, headers: Record<string, string>) =>
  cloud.app.inject({ method, url: `/v2/${projectId}${path}`, headers, ...(body ? { payload: body } : {}) })

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database, servers: { web: {} } })
    const webId = () => shared().id.web ?? ''

    test('without a token that is known, every call is 401 in the shape of the identity service', async () => {
      const cloud = shared()
      const { projectId, token } = cloud.member
      const before = await countRows(cloud)
      const strangers = [{}, { 'x-auth-token': '' }, { 'x-auth-token': 'nonsense' }, { 'x-auth-token': `${token}x` }]
      for (const call of [...(await allCalls(cloud, webId())), { method: 'GET', path: '/no/such/path' } as Call]) {
        for (const headers of strangers) {
          const answer = await send(cloud, call, projectId, headers as Record<string, string>)
          assert.equal(answer.statusCode, 401, `${call.method} ${call.path}`)
          assert.equal(answer.headers['www-authenticate'], 'Keystone uri="http://localhost:80/identity"')
          const { error } = answer.json()
          assert.deepEqual({ ...error, message: '' }, { code: 401, title: 'Unauthorized', message: '' })
          assert.match(error.message, /X-Auth-Token/)
          assertRequestIds(answer)
        }
      }
      assert.deepEqual(await countRows(cloud), before)
    })

    test('a token that was revoked or ran out is none', async () => {
      const cloud = shared()
      const stranger = await cloud.stranger()
      assert.equal((await stranger.get('/servers')).statusCode, 200)
      const headers = { 'x-auth-token': stranger.token, 'x-subject-token': stranger.token }
      await cloud.app.inject({ method: 'DELETE', url: '/v3/auth/tokens', headers })
      assert.equal((await stranger.get('/servers')).statusCode, 401)
    })

    test('a token without a project opens nothing under a project', async () => {
      const cloud = shared()
      const identity = byPassword('demo', passwordOf(cloud, 'demo'))
      const token = tokenOf(await askToken(cloud, { identity, scope: 'unscoped' }))
      for (const call of await allCalls(cloud, webId())) {
        assertFault(await send(cloud, call, cloud.member.projectId, { 'x-auth-token': token }), 403, /not scoped/)
      }
    })

    test('a project in the path that is not that of the token is 400', async () => {
      const cloud = shared()
      const { token } = cloud.member
      const before = await countRows(cloud)
      for (const projectId of [cloud.admin.projectId, NOBODY, 'demo', '..']) {
        for (const call of await allCalls(cloud, webId())) {
          const answer = await send(cloud, call, projectId, { 'x-auth-token': token })
          if (projectId === '..') assert.ok([400, 404].includes(answer.statusCode))
          else assertFault(answer, 400, /project/, `${projectId} ${call.method} ${call.path}`)
        }
      }
      assert.deepEqual(await countRows(cloud), before)
    })

    test('a server that does not exist, or is of another project, is 404 for every call', async () => {
      const cloud = shared()
      const { member } = cloud
      const stranger = await cloud.stranger()
      const before = await countRows(cloud)
      for (const id of [NOBODY, 'web', 'x'.repeat(255), '%F0%9F%98%80', "'%20or%20''='", '%25', webId()]) {
        const client = id === webId() ? stranger : member
        for (const call of callsOn(id)) {
          const answer = await send(cloud, call, client.projectId, { 'x-auth-token': client.token })
          assertFault(answer, 404, /Instance .* could not be found/, `${call.method} ${id}`)
        }
      }
      assert.deepEqual(await countRows(cloud), before)
      assert.equal((await member.get(`/servers/${webId()}`)).json().server.name, 'web')
    })

    test('the message about a foreign server is that about one which never was', async () => {
      const cloud = shared()
      const stranger = await cloud.stranger()
      const foreign = (await stranger.get(`/servers/${webId()}`)).json().itemNotFound.message
      const unknown = (await stranger.get(`/servers/${NOBODY}`)).json().itemNotFound.message
      assert.equal(foreign.replace(webId(), NOBODY), unknown)
    })

    test('an unknown path is 404, and a known one with another method 405 with what it takes', async () => {
      const cloud = shared()
      const { projectId, token } = cloud.member
      const ask = (method: string, path: string): Promise<Answer> =>
        cloud.app.inject({
          method: method as 'GET',
          url: `/v2/${projectId}${path}`,
          headers: { 'x-auth-token': token },
        })
      for (const path of ['/server', `/servers/${webId()}/actions`, `/servers/${webId()}/action/x`, '/']) {
        assertFault(await ask('GET', path), 404, /could not be found/, path)
      }
      const allowed: [string, string[], string[]][] = [
        ['/servers', ['PUT', 'DELETE', 'PATCH', 'OPTIONS'], ['GET', 'HEAD', 'POST']],
        ['/servers/detail', ['POST', 'PATCH'], ['GET', 'HEAD', 'PUT', 'DELETE']],
        [`/servers/${webId()}`, ['POST', 'PATCH'], ['GET', 'HEAD', 'PUT', 'DELETE']],
        [`/servers/${webId()}/action`, ['GET', 'PUT', 'DELETE', 'PATCH'], ['POST']],
      ]
      for (const [path, methods, takes] of allowed) {
        for (const method of methods) {
          const answer = await ask(method, path)
          assertFault(answer, 405, new RegExp(method), `${method} ${path}`)
          assert.deepEqual(String(answer.headers.allow).split(', ').sort(), takes.sort(), path)
        }
      }
    })

    test('a slash at the end changes nothing, and HEAD answers like GET without the body', async () => {
      const cloud = shared()
      for (const path of ['/servers', '/servers/detail', `/servers/${webId()}`]) {
        const plain = await cloud.member.get(path)
        assert.deepEqual((await cloud.member.get(`${path}/`)).json(), plain.json())
        const head = await cloud.member.request({ method: 'HEAD', url: path })
        assert.deepEqual([head.statusCode, head.body], [200, ''])
      }
    })

    const raw = (cloud: TestCloud, call: Call, payload: string, type?: string): Promise<Answer> =>
      cloud.member.request({
        method: call.method,
        url: call.path,
        payload,
        headers: type === undefined ? {} : { 'content-type': type },
      })
    const writing = async (cloud: TestCloud) =>
      (await allCalls(cloud, webId())).filter(({ method }) => method === 'POST' || method === 'PUT')

    test('bodies that are not JSON, or none, are 400', async () => {
      const cloud = shared()
      const before = await countRows(cloud)
      for (const call of await writing(cloud)) {
        for (const payload of [
          '',
          '{',
          '{"server":',
          'name=web',
          '\ufeff{}',
          "{'server':{}}",
          '{"a":01}',
          '\0',
          '{"a":NaN}',
        ]) {
          assertFault(await raw(cloud, call, payload, 'application/json'), 400, /body/i, `${call.path} ${payload}`)
        }
      }
      assert.deepEqual(await countRows(cloud), before)
    })

    test('a body of more than 1 MiB is 413, one of another type 415', async () => {
      const cloud = shared()
      const before = await countRows(cloud)
      for (const call of await writing(cloud)) {
        const huge = JSON.stringify({ ...call.body, padding: 'x'.repeat(1_048_576) })
        assertFault(await raw(cloud, call, huge, 'application/json'), 413, /1 MiB/)
        for (const type of [
          'application/xml',
          'application/x-www-form-urlencoded',
          'multipart/form-data',
          'nonsense',
        ]) {
          const answer = await raw(cloud, call, JSON.stringify(call.body), type)
          assertFault(answer, 415, /application\/json/, type)
        }
      }
      assert.deepEqual(await countRows(cloud), before)
    })

    test('a body without a type, as plain text, or under a vendor type is read as JSON', async () => {
      const cloud = shared()
      const payload = JSON.stringify({ server: { name: 'web' } })
      const call: Call = { method: 'PUT', path: `/servers/${webId()}` }
      for (const type of [
        undefined,
        'text/plain',
        'application/json; charset=utf-8',
        'application/vnd.openstack.compute+json',
        'APPLICATION/JSON',
      ]) {
        assert.equal((await raw(cloud, call, payload, type)).statusCode, 200, String(type))
      }
    })

    test('an action needs exactly one key, and an unknown one is named', async () => {
      const cloud = shared()
      const { member } = cloud
      const path = `/servers/${webId()}/action`
      const before = await countRows(cloud)
      const refusals: [unknown, RegExp][] = [
        [{}, /body/],
        [{ 'os-stop': null, 'os-start': null }, /body/],
        [{ reboot: { type: 'SOFT' }, extra: 1 }, /body/],
        [{ explode: null }, /explode/],
        [{ '': null }, /action/],
        [{ 'OS-STOP': null }, /OS-STOP/],
        [{ constructor: null }, /constructor/],
        [{ toString: null }, /toString/],
        [{ create: null }, /create/],
        [{ delete: null }, /delete/],
        ['os-stop', /body/],
        [['os-stop'], /body/],
        ...[null, 'SOFT', [], 5, true].map((value): [unknown, RegExp] => [{ reboot: value }, /reboot/]),
        ...[undefined, null, '', 'WARM', 'SOFT ', 5, ['SOFT'], {}].map((type): [unknown, RegExp] => [
          { reboot: { type } },
          /reboot.*type/,
        ]),
        ...['x', '-2', -2, 1.5, true, {}, []].map((length): [unknown, RegExp] => [
          { 'os-getConsoleOutput': { length } },
          /os-getConsoleOutput.*length/,
        ]),
        ...['x', 5, []].map((value): [unknown, RegExp] => [{ 'os-getConsoleOutput': value }, /os-getConsoleOutput/]),
      ]
      for (const [body, message] of refusals) {
        const headers = { 'content-type': 'application/json' }
        const answer = await member.request({ method: 'POST', url: path, payload: JSON.stringify(body), headers })
        assertFault(answer, 400, message, JSON.stringify(body))
      }
      assert.deepEqual(await countRows(cloud), before)
    })

    test('a reader sees everything and changes nothing', async () => {
      const cloud = shared()
      const reader = await cloud.stranger('reader')
      const { id } = (await cloud.member.post('/servers', await cloud.wish())).json().server
      await cloud.settled()
      await cloud.cloud.db.transaction((tx) =>
        tx.updateTable('servers').set({ projectId: reader.projectId }).where('id', '=', id).execute(),
      )
      const before = await countRows(cloud)
      for (const call of await allCalls(cloud, id)) {
        const answer = await send(cloud, call, reader.projectId, { 'x-auth-token': reader.token })
        const what = `${call.method} ${call.path} ${JSON.stringify(call.body)}`
        if (call.method === 'GET') assert.equal(answer.statusCode, 200, what)
        else assertFault(answer, 403, /Policy doesn't allow servers:[a-z]+ .*member/, what)
      }
      assert.deepEqual(await countRows(cloud), before)
    })

    test('an admin reaches servers of every project', async () => {
      const cloud = shared()
      const { admin } = cloud
      assert.equal((await admin.get(`/servers/${webId()}`)).json().server.tenant_id, cloud.member.projectId)
      const output = await admin.post(`/servers/${webId()}/action`, { 'os-getConsoleOutput': {} })
      assert.equal(output.statusCode, 200)
    })
  })
}
