import assert from 'node:assert/strict'
import { test } from 'node:test'
import { counting, isCounted, LOSSES, tracesOf } from '../support/host-faults.ts'
import { begin, makeServer, SCENARIOS, untilDone } from '../support/scenarios.ts'
import { DATABASES, testCloud } from '../support/test-cloud.ts'

for (const database of DATABASES) {
  for (const scenario of SCENARIOS.filter(({ name }) => name !== 'delete')) {
    test(`${database}: a delete in the middle of ${scenario.name} leaves nothing, at whichever host call it comes`, async () => {
      await using cloud = await testCloud({ database })
      const { intercept, calls } = counting()
      const first = await begin(cloud, scenario)
      cloud.host.intercept = intercept
      await untilDone(cloud, await scenario.ask(cloud, first))

      for (const nth of calls.keys()) {
        cloud.host.intercept = counting().intercept
        const beginning = await begin(cloud, scenario)
        const gate = Promise.withResolvers<void>()
        const reached = Promise.withResolvers<void>()
        let seen = -1
        cloud.host.intercept = async (verb, _id, run) => {
          if (isCounted(verb)) seen += 1
          if (seen === nth && isCounted(verb)) {
            reached.resolve()
            await gate.promise
          }
          return run()
        }
        const serverId = await scenario.ask(cloud, beginning)
        await reached.promise
        assert.equal((await cloud.member.delete(`/servers/${serverId}`)).statusCode, 202)
        // The delete must wait for the call under way, which has its effect only now.
        gate.resolve()
        await untilDone(cloud, serverId)
        assert.equal((await cloud.member.get(`/servers/${serverId}`)).statusCode, 404)
        assert.deepEqual(await tracesOf(cloud, serverId), [], `call ${nth}: ${calls[nth]}`)
      }
    })
  }

  test(`${database}: a hard reboot takes over a soft one that hangs`, async () => {
    await using cloud = await testCloud({ database, servers: { web: {} }, memory: { shutdownMs: Infinity } })
    await cloud.member.post(`/servers/${cloud.id.web}/action`, { reboot: { type: 'SOFT' } })
    await cloud.settled()
    assert.equal((await cloud.server('web')).taskState, 'reboot_pending')
    const answer = await cloud.member.post(`/servers/${cloud.id.web}/action`, { reboot: { type: 'HARD' } })
    assert.equal(answer.statusCode, 202)
    await cloud.settled()
    assert.deepEqual(await cloud.actions('web'), ['create Success', 'reboot Superseded', 'reboot Success'])
    const { vmState, taskState } = await cloud.server('web')
    assert.deepEqual([vmState, taskState], ['active', null])
  })

  test(`${database}: deleting twice opens one action`, async () => {
    await using cloud = await testCloud({ database, servers: { web: {} } })
    const gate = Promise.withResolvers<void>()
    cloud.host.intercept = async (verb, _id, run) => {
      if (verb === 'ensureOff') await gate.promise
      return run()
    }
    for (let times = 0; times < 3; times++) {
      assert.equal((await cloud.member.delete(`/servers/${cloud.id.web}`)).statusCode, 202)
    }
    assert.deepEqual(await cloud.actions('web'), ['create Success', 'delete open'])
    gate.resolve()
    await untilDone(cloud, cloud.id.web ?? '')
    assert.deepEqual(await cloud.actions('web'), ['create Success', 'delete Success'])
  })
}

test('two processes on one PostgreSQL share the work, and do nothing twice', async () => {
  await using cloud = await testCloud({ database: 'postgres' })
  const { Runner } = await import('../../src/actions/runner.ts')
  const { db, clock, log, actions } = cloud.cloud
  await using second = new Runner({ db, clock, log, actions: Object.values(actions) })
  await second.start()
  const made = new Map<string, number>()
  cloud.host.intercept = (verb, id, run) => {
    if (verb === 'ensureDisk') made.set(id, (made.get(id) ?? 0) + 1)
    return run()
  }
  const ids = await Promise.all(Array.from({ length: 30 }, () => makeServer(cloud)))
  for (const id of ids) await untilDone(cloud, id)
  for (const id of ids) {
    assert.deepEqual(await cloud.actions(id), ['create Success'])
    assert.equal(made.get(id), 1)
  }
})

test('a process that lost its lease while a host call hung commits nothing afterwards', async () => {
  await using cloud = await testCloud({ database: 'sqlite' })
  for (const loss of LOSSES) {
    cloud.host.intercept = counting().intercept
    const gate = Promise.withResolvers<void>()
    const reached = Promise.withResolvers<void>()
    cloud.host.intercept = async (verb, _id, run) => {
      if (verb !== 'ensureDisk') return run()
      if (loss === 'answer') await run()
      reached.resolve()
      await gate.promise
      return run()
    }
    const serverId = await makeServer(cloud)
    await reached.promise
    await cloud.cloud.db.transaction((tx) =>
      tx.updateTable('actions').set({ leaseToken: 'somebody else' }).where('resourceId', '=', serverId).execute(),
    )
    gate.resolve()
    await cloud.settled()
    const { taskState } = await cloud.server(serverId)
    assert.equal(taskState, 'block_device_mapping')
  }
})
