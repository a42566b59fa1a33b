import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DATABASES, testCloud } from '../support/test-cloud.ts'

const of = (id: string | undefined, path: string): string => `//compute/v2.1/servers/${id}${path}`

for (const database of DATABASES) {
  test(`${database}: notes about a server are merged, replaced, and read and removed one by one`, async () => {
    await using cloud = await testCloud({
      database,
      servers: { web: { metadata: '{"role":"db"}' } },
      config: { quotaMetadata: 3 },
    })
    const { member } = cloud
    const path = of(cloud.id.web, '/metadata')
    const merged = await member.post(path, { metadata: { tier: '1' } })
    assert.equal(merged.statusCode, 200, merged.body)
    assert.deepEqual(merged.json(), { metadata: { role: 'db', tier: '1' } })
    assert.deepEqual((await member.get(`${path}/tier`)).json(), { meta: { tier: '1' } })
    assert.deepEqual((await member.put(`${path}/tier`, { meta: { tier: '2' } })).json(), { meta: { tier: '2' } })
    assert.equal((await member.put(`${path}/tier`, { meta: { other: '2' } })).statusCode, 400)
    assert.equal((await member.put(`${path}/a`, { meta: { a: '1', b: '2' } })).statusCode, 400)
    assert.equal((await member.delete(`${path}/role`)).statusCode, 204)
    assert.equal((await member.delete(`${path}/role`)).statusCode, 404)
    assert.equal((await member.get(`${path}/toString`)).statusCode, 404)
    const full = await member.post(path, { metadata: { a: '1', b: '2', c: '3' } })
    assert.equal(full.statusCode, 403)
    assert.match(full.json().forbidden.message, /metadata_items.*limit is 3/)
    assert.equal((await member.post(path, { metadata: { 'a/b': '1' } })).statusCode, 400)
    assert.equal((await member.post(path, { metadata: { a: 1 } })).statusCode, 400)
    assert.deepEqual((await member.get(path)).json(), { metadata: { tier: '2' } })
    assert.deepEqual((await member.put(path, { metadata: {} })).json(), { metadata: {} })
    const stranger = await cloud.stranger()
    assert.equal((await stranger.put(path, { metadata: {} })).statusCode, 404)
  })

  test(`${database}: what was asked of a server is listed newest first, its steps for admins`, async () => {
    await using cloud = await testCloud({ database, servers: { web: {} } })
    const { member, admin } = cloud
    const stopped = await member.post(`/servers/${cloud.id.web}/action`, { 'os-stop': null })
    await cloud.settled()
    const { instanceActions } = (await member.get(of(cloud.id.web, '/os-instance-actions'))).json()
    assert.deepEqual(
      instanceActions.map(({ action, message }: Record<string, unknown>) => [action, message]),
      [
        ['stop', null],
        ['create', null],
      ],
    )
    const requestId = stopped.headers['x-openstack-request-id']
    assert.equal(instanceActions[0].request_id, requestId)
    const path = of(cloud.id.web, `/os-instance-actions/${requestId}`)
    const seen = (await member.get(path)).json().instanceAction
    assert.deepEqual(seen, instanceActions[0])
    const { events } = (await admin.get(path)).json().instanceAction
    assert.ok(events.length > 0)
    for (const event of events) assert.deepEqual([event.result, event.traceback], ['Success', null])
    assert.equal((await member.get(of(cloud.id.web, '/os-instance-actions/req-none'))).statusCode, 404)
    assert.equal((await (await cloud.stranger()).get(path)).statusCode, 404)
    // The same in the dialect of UOS.
    assert.deepEqual((await member.get(`/servers/${cloud.id.web}/os-instance-actions`)).json(), { instanceActions })
  })
}

test('notes of a locked or half-built server stay as they are', async () => {
  await using cloud = await testCloud({ servers: { locked: { isLocked: 1 }, building: { vmState: 'building' } } })
  const { member } = cloud
  for (const name of ['locked', 'building']) {
    const answer = await member.post(of(cloud.id[name], '/metadata'), { metadata: { a: 'b' } })
    assert.equal(answer.statusCode, 409, answer.body)
  }
})
