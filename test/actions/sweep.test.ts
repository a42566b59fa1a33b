import assert from 'node:assert/strict'
import { test } from 'node:test'
import { settledState } from '../../src/servers/sync-servers.ts'
import { untilDone } from '../support/scenarios.ts'
import { DATABASES, testCloud } from '../support/test-cloud.ts'

test('what a row must say follows from the power that was read', () => {
  const active = { vmState: 'active', powerState: 1 } as const
  const stopped = { vmState: 'stopped', powerState: 4 } as const
  assert.equal(settledState(active, 'on'), undefined)
  assert.deepEqual(settledState(active, 'off'), stopped)
  assert.deepEqual(settledState(active, 'crashed'), { vmState: 'stopped', powerState: 6 })
  assert.deepEqual(settledState(active, 'absent'), stopped)
  assert.deepEqual(settledState(active, 'paused'), { vmState: 'paused', powerState: 3 })
  assert.deepEqual(settledState({ vmState: 'paused', powerState: 3 }, 'on'), active)
  assert.deepEqual(settledState(stopped, 'on'), active)
  for (const power of ['off', 'crashed', 'absent'] as const) assert.equal(settledState(stopped, power), undefined)
})

for (const database of DATABASES) {
  test(`${database}: a guest that shuts itself down is seen without waiting for the sweep`, async () => {
    await using cloud = await testCloud({ database, servers: { web: {}, other: {} } })
    cloud.host.powerOffFromInside(cloud.id.web ?? '')
    await until(async () => (await cloud.server('web')).vmState === 'stopped')
    const { server } = (await cloud.member.get(`/servers/${cloud.id.web}`)).json()
    assert.deepEqual([server.status, server['OS-EXT-STS:power_state']], ['SHUTOFF', 4])
    assert.equal((await cloud.server('other')).vmState, 'active')
    assert.deepEqual(await cloud.actions('web'), ['create Success'])
  })

  test(`${database}: a guest that crashes is seen, shown as crashed, and can be started`, async () => {
    await using cloud = await testCloud({ database, servers: { web: {} } })
    cloud.host.crash(cloud.id.web ?? '')
    await until(async () => (await cloud.server('web')).vmState === 'stopped')
    assert.equal((await cloud.server('web')).powerState, 6)
    await cloud.member.post(`/servers/${cloud.id.web}/action`, { 'os-start': null })
    await untilDone(cloud, cloud.id.web ?? '')
    assert.equal((await cloud.server('web')).vmState, 'active')
  })

  test(`${database}: a server that is being stopped is left to its action`, async () => {
    await using cloud = await testCloud({ database, servers: { web: {} } })
    const gate = Promise.withResolvers<void>()
    cloud.host.intercept = async (verb, _id, run) => {
      const answer = await run()
      if (verb === 'ensureOff') await gate.promise
      return answer
    }
    await cloud.member.post(`/servers/${cloud.id.web}/action`, { 'os-stop': null })
    cloud.clock.advance(10_000)
    await until(() => cloud.machine.servers.get(cloud.id.web ?? '')?.power === 'off')
    assert.deepEqual(
      [(await cloud.server('web')).vmState, (await cloud.server('web')).taskState],
      ['active', 'powering-off'],
    )
    gate.resolve()
    await untilDone(cloud, cloud.id.web ?? '')
    assert.equal((await cloud.server('web')).vmState, 'stopped')
  })

  test(`${database}: after a restart of the machine, the servers that ran run again, and the others do not`, async () => {
    await using cloud = await testCloud({ database, servers: { ran: {}, off: {} } })
    await cloud.member.post(`/servers/${cloud.id.off}/action`, { 'os-stop': null })
    await cloud.settled()
    await cloud.stop()
    cloud.host.rebootMachine()
    await cloud.start()
    await cloud.settled()
    await untilDone(cloud, cloud.id.ran ?? '')
    assert.equal((await cloud.server('ran')).vmState, 'active')
    assert.equal(cloud.machine.servers.get(cloud.id.ran ?? '')?.power, 'on')
    assert.equal((await cloud.server('off')).vmState, 'stopped')
    assert.deepEqual(await cloud.actions('ran'), ['create Success', 'start Success'])
  })

  test(`${database}: with resume_guests off, servers stay off after a restart of the machine`, async () => {
    await using cloud = await testCloud({ database, servers: { ran: {} }, config: { resumeGuests: false } })
    await cloud.stop()
    cloud.host.rebootMachine()
    await cloud.start()
    await until(async () => (await cloud.server('ran')).vmState === 'stopped')
    assert.deepEqual(await cloud.actions('ran'), ['create Success'])
  })

  test(`${database}: an orderly restart touches no server`, async () => {
    await using cloud = await testCloud({ database, servers: { web: {} } })
    const before = await cloud.server('web')
    await cloud.stop()
    await cloud.start()
    await cloud.settled()
    assert.deepEqual(await cloud.server('web'), before)
    assert.equal(cloud.machine.servers.get(cloud.id.web ?? '')?.power, 'on')
  })
}

/** Lets the event loop turn until it is so. */
async function until(isSo: () => Promise<boolean> | boolean): Promise<void> {
  const deadline = Date.now() + 20_000
  while (!(await isSo())) {
    assert.ok(Date.now() < deadline, 'it never came true')
    await new Promise((resolve) => setImmediate(resolve))
  }
}
