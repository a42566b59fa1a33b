import assert from 'node:assert/strict'
import { test } from 'node:test'
import { countersAndClaims, counting, LOSSES, losing } from '../support/host-faults.ts'
import { begin, SCENARIOS, untilDone } from '../support/scenarios.ts'
import { DATABASES, testCloud } from '../support/test-cloud.ts'

for (const database of DATABASES) {
  for (const scenario of SCENARIOS) {
    test(`${database}: ${scenario.name} ends well whichever host call, or its answer, is lost`, async () => {
      await using cloud = await testCloud({ database })
      const { intercept, calls } = counting()
      const first = await begin(cloud, scenario)
      cloud.host.intercept = intercept
      await untilDone(cloud, await scenario.ask(cloud, first))
      assert.ok(calls.length > 0)

      for (const [nth, verb] of calls.entries()) {
        for (const loss of LOSSES) {
          cloud.host.intercept = counting().intercept
          const beginning = await begin(cloud, scenario)
          cloud.host.intercept = losing(nth, loss)
          const serverId = await scenario.ask(cloud, beginning)
          await untilDone(cloud, serverId)
          await assert.doesNotReject(scenario.ended(cloud, serverId), `after the ${loss} of ${verb} (${nth}) was lost`)
        }
      }
      const { counters, sums } = await countersAndClaims(cloud)
      assert.deepEqual(counters, sums)
    })
  }
}
