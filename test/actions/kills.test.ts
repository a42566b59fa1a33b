import assert from 'node:assert/strict'
import { test } from 'node:test'
import { countersAndClaims, counting, hangingAt, LOSSES, reach } from '../support/host-faults.ts'
import { begin, SCENARIOS, untilDone } from '../support/scenarios.ts'
import { DATABASES, testCloud } from '../support/test-cloud.ts'

for (const database of DATABASES) {
  for (const scenario of SCENARIOS) {
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
