import assert from 'node:assert/strict'
import { test } from 'node:test'
import { countersAndClaims, counting, hangingAt, LOSSES } from '../support/host-faults.ts'
import { begin, scenariosOn, untilDone } from '../support/scenarios.ts'
import { DATABASES, testCloud } from '../support/test-cloud.ts'

for (const database of DATABASES) {
  for (const scenario of scenariosOn(database)) {
    test(`${database}: ${scenario.name} ends well when the process is killed at any host call`, async () => {
      await using cloud = await testCloud({ database })
      const { intercept, calls } = counting()
      const first = await begin(cloud, scenario)
      cloud.host.intercept = intercept
      await untilDone(cloud, await scenario.ask(cloud, first))

      for (const [nth, verb] of calls.entries()) {
        for (const loss of LOSSES) {
          cloud.host.intercept = counting().intercept
          const beginning = await begin(cloud, scenario)
          const hanging = hangingAt(nth, loss)
          cloud.host.intercept = hanging.intercept
          const serverId = await scenario.ask(cloud, beginning)
          await reach(cloud, hanging.reached)
          await cloud.killAndStart()
          await untilDone(cloud, serverId)
          await assert.doesNotReject(scenario.ended(cloud, serverId), `killed at ${verb} (${nth}), the ${loss} lost`)
          assert.equal((await cloud.actions(serverId)).filter((action) => action.startsWith('create ')).length, 1)
        }
      }
      const { counters, sums } = await countersAndClaims(cloud)
      assert.deepEqual(counters, sums)
    })
  }
}

/** Turns the clock until the call comes: some steps wait before they ask. */
async function reach(cloud: { clock: { advance(ms: number): void } }, reached: Promise<void>): Promise<void> {
  let isReached = false
  void reached.then(() => {
    isReached = true
  })
  for (let tries = 0; !isReached; tries++) {
    assert.ok(tries < 10_000, 'the call never came')
    // A turn of the event loop lets the runner go on; a bit of time every now and then lets what waits come due.
    await new Promise((resolve) => setImmediate(resolve))
    if (tries % 20 === 19) cloud.clock.advance(250)
  }
}
