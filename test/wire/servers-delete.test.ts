/** S06: in every state, and as often as one likes. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Row } from '../../src/db/schema.ts'
import { assertFault } from '../support/assert-fault.ts'
import { countRows } from '../support/count-rows.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { DATABASES, type TestCloud, testCloud } from '../support/test-cloud.ts'
import { until } from '../support/until.ts'

const STATES: Record<string, Partial<Row<'servers'>>> = {
  active: {},
  stopped: { vmState: 'stopped', powerState: 4 },
  paused: { vmState: 'paused', powerState: 3 },
  suspended: { vmState: 'suspended', powerState: 7 },
  resized: { vmState: 'resized' },
  error: { vmState: 'error', powerState: 0 },
  building: { vmState: 'building', taskState: 'spawning', launchedAt: null },
  rebooting: { taskState: 'reboot_pending_hard' },
  deleting: { taskState: 'deleting' },
  homeless: { vmState: 'error', hostName: null, launchedAt: null },
}

/** What a server may leave in the database and on its host: nothing. */
async function traces(cloud: TestCloud, id: string): Promise<unknown> {
  const { read } = cloud.cloud.db
  const one = async (table: 'ports' | 'claims') =>
    (
      await read
        .selectFrom(table)
        .selectAll()
        .where(table === 'ports' ? 'deviceId' : 'serverId', '=', id)
        .execute()
    ).length
  const { sealedAdminPass } = await cloud.server(id)
  const { servers, ports } = cloud.machine
  return {
    ports: await one('ports'),
    claims: await one('claims'),
    sealedAdminPass,
    onHost: servers.has(id),
    plugged: [...ports.values()].filter(({ serverId }) => serverId === id).length,
  }
}
const NONE = { ports: 0, claims: 0, sealedAdminPass: null, onHost: false, plugged: 0 }

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database, servers: STATES })

    test('a server is deleted in every state, and nothing of it is left', async () => {
      const cloud = shared()
      for (const name of Object.keys(STATES)) {
        const answer = await cloud.member.delete(`/servers/${cloud.id[name]}`)
        assert.deepEqual([answer.statusCode, answer.body], [202, ''], name)
      }
      await cloud.settled()
      for (const name of Object.keys(STATES)) {
        assertFault(await cloud.member.get(`/servers/${cloud.id[name]}`), 404, /could not be found/, name)
        assertFault(await cloud.member.delete(`/servers/${cloud.id[name]}`), 404, /could not be found/, name)
        const expected = name === 'homeless' ? { ...NONE, onHost: true, plugged: 1 } : NONE
        assert.deepEqual(await traces(cloud, cloud.id[name] ?? ''), expected, name)
        const row = await cloud.server(name)
        assert.deepEqual([row.vmState, row.taskState, row.powerState], ['deleted', null, 0], name)
        assert.equal(row.terminatedAt, row.deletedAt)
      }
      const { claimedVcpus, claimedRamMib, claimedDiskGib } = await cloud.cloud.db.read
        .selectFrom('hosts')
        .selectAll()
        .executeTakeFirstOrThrow()
      assert.deepEqual([claimedVcpus, claimedRamMib, claimedDiskGib], [0, 0, 0])
      assert.deepEqual((await cloud.member.get('/servers')).json(), { servers: [] })
    })

    test('asking again while it goes on is fine, and nothing new', async () => {
      await using cloud = await testCloud({ database, servers: { web: {} } })
      const gate = Promise.withResolvers<void>()
      cloud.host.intercept = async (verb, _id, run) => {
        if (verb === 'removeDisks') await gate.promise
        return run()
      }
      for (let n = 0; n < 3; n++) {
        assert.equal((await cloud.member.delete(`/servers/${cloud.id.web}`)).statusCode, 202)
      }
      const { server } = (await cloud.member.get(`/servers/${cloud.id.web}`)).json()
      assert.deepEqual([server.status, server['OS-EXT-STS:task_state']], ['ACTIVE', 'deleting'])
      gate.resolve()
      await cloud.settled()
      assert.deepEqual(await cloud.actions('web'), ['create Success', 'delete Success'])
      assert.deepEqual(await traces(cloud, cloud.id.web ?? ''), NONE)
    })

    test('deletes at once, and deletes beside other actions, all end in one deleted server', async () => {
      const cloud = await shared()
      for (let round = 0; round < 5; round++) {
        const { id } = (await cloud.member.post('/servers', await cloud.wish())).json().server
        await cloud.settled()
        const action = (body: object) => cloud.member.post(`/servers/${id}/action`, body)
        const deleting = Array.from({ length: 4 }, () => cloud.member.delete(`/servers/${id}`))
        const acting = [action({ 'os-stop': null }), action({ reboot: { type: 'HARD' } })]
        for (const { statusCode, body } of await Promise.all(deleting)) {
          assert.ok([202, 404].includes(statusCode), body)
        }
        for (const { statusCode, body } of await Promise.all(acting)) {
          assert.ok([202, 409, 404].includes(statusCode), body)
        }
        await until('it is gone', async () => (await cloud.server(id)).deletedAt !== null)
        await cloud.settled()
        assert.deepEqual(await traces(cloud, id), NONE)
        const results = await cloud.actions(id)
        assert.equal(results.filter((result) => result === 'delete Success').length, 1, results.join())
        assert.equal((await cloud.server(id)).taskState, null)
      }
    })

    for (const step of ['ensurePort', 'ensureDisk', 'ensureOn'] as const) {
      test(`a delete during ${step} of the build leaves nothing`, async () => {
        await using cloud = await testCloud({ database })
        const before = await countRows(cloud)
        const gate = Promise.withResolvers<void>()
        let isReached = false
        cloud.host.intercept = async (verb, _id, run) => {
          if (verb !== step) return run()
          isReached = true
          await gate.promise
          return run()
        }
        const { id } = (await cloud.member.post('/servers', await cloud.wish())).json().server
        await until('the step is reached', () => isReached)
        assert.equal((await cloud.member.delete(`/servers/${id}`)).statusCode, 202)
        const { server } = (await cloud.member.get(`/servers/${id}`)).json()
        assert.deepEqual([server.status, server['OS-EXT-STS:task_state']], ['BUILD', 'deleting'])
        gate.resolve()
        await cloud.settled()
        assert.equal((await cloud.member.get(`/servers/${id}`)).statusCode, 404)
        assert.deepEqual(await cloud.actions(id), ['create Superseded', 'delete Success'])
        assert.deepEqual(await traces(cloud, id), NONE)
        const after = await countRows(cloud)
        for (const table of ['ports', 'portAddresses', 'portSecurityGroups', 'claims'] as const) {
          assert.equal(after[table], before[table], table)
        }
      })
    }

    test('a stranger cannot delete, and learns nothing', async () => {
      const cloud = shared()
      const { id } = (await cloud.member.post('/servers', await cloud.wish())).json().server
      await cloud.settled()
      const stranger = await cloud.stranger()
      assertFault(await stranger.delete(`/servers/${id}`), 404, /could not be found/)
      assert.equal((await cloud.member.get(`/servers/${id}`)).json().server.status, 'ACTIVE')
    })
  })
}
