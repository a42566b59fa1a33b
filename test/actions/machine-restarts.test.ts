import assert from 'node:assert/strict'
import { test } from 'node:test'
import { counting, hangingAt, reach } from '../support/host-faults.ts'
import { begin, SCENARIOS, untilDone } from '../support/scenarios.ts'
import { DATABASES, testCloud } from '../support/test-cloud.ts'

for (const database of DATABASES) {
  for (const scenario of SCENARIOS) {
    test(`${database}: ${scenario.name} ends well when the machine is restarted at any host call`, async () => {
      await using cloud = await testCloud({ database })
      const { intercept, calls } = counting()
      const first = await begin(cloud, scenario)
      cloud.host.intercept = intercept
      await untilDone(cloud, await scenario.ask(cloud, first))

      for (const [nth, verb] of calls.entries()) {
        cloud.host.intercept = counting().intercept
        const beginning = await begin(cloud, scenario)
        const hanging = hangingAt(nth, 'answer')
        cloud.host.intercept = hanging.intercept
        const serverId = await scenario.ask(cloud, beginning)
        await reach(cloud, hanging.reached)
        cloud.host.rebootMachine()
        await cloud.killAndStart()
        await untilDone(cloud, serverId)
        const ended = scenario.endedByRestart ?? scenario.ended
        await assert.doesNotReject(ended(cloud, serverId), `restarted at ${verb} (${nth})`)
      }
    })
  }
}

test('an action whose lease expired while its step still runs is not run a second time', async () => {
  await using cloud = await testCloud()
  const gate = Promise.withResolvers<void>()
  let disks = 0
  cloud.host.intercept = async (verb, _id, run) => {
    if (verb === 'ensureDisk') {
      disks += 1
      await gate.promise
    }
    return run()
  }
  const answer = await cloud.member.post('/servers', await cloud.wish())
  const serverId = answer.json().server.id
  while (disks === 0) await new Promise((resolve) => setImmediate(resolve))
  await cloud.cloud.db.transaction((tx) => tx.updateTable('actions').set({ leaseUntil: 0 }).execute())
  for (let nudges = 0; nudges < 20; nudges++) {
    cloud.cloud.runner.nudge()
    await new Promise((resolve) => setImmediate(resolve))
  }
  assert.equal(disks, 1)
  gate.resolve()
  await untilDone(cloud, serverId)
  assert.deepEqual(await cloud.actions(serverId), ['create Success'])
})
