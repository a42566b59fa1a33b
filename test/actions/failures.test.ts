import assert from 'node:assert/strict'
import { test } from 'node:test'
import { listEvents } from '../../src/actions/journal.ts'
import { HostError } from '../../src/host/host-driver.ts'
import { countersAndClaims, tracesOf } from '../support/host-faults.ts'
import { makeServer, untilDone } from '../support/scenarios.ts'
import { DATABASES, type TestCloud, testCloud } from '../support/test-cloud.ts'
import { until } from '../support/until.ts'

const CREATE_VERBS = ['ensurePort', 'ensureDisk', 'ensureOn', 'readPower']

async function assertNothingButTheRow(cloud: TestCloud, serverId: string): Promise<void> {
  assert.deepEqual(await tracesOf(cloud, serverId), [])
  const { counters, sums } = await countersAndClaims(cloud)
  assert.deepEqual(
    [counters, sums],
    [
      [0, 0, 0],
      [0, 0, 0],
    ],
  )
}

for (const database of DATABASES) {
  for (const broken of CREATE_VERBS) {
    test(`${database}: a create that fails at ${broken} ends in ERROR with its reason, and leaves nothing but the row`, async () => {
      await using cloud = await testCloud({ database })
      cloud.host.intercept = async (verb, _id, run) => {
        if (verb === broken) throw new HostError('noSpace', `The disk of the host is full at ${verb}.`)
        return run()
      }
      const serverId = await makeServer(cloud)
      await untilDone(cloud, serverId)
      const { server } = (await cloud.member.get(`/servers/${serverId}`)).json()
      assert.equal(server.status, 'ERROR')
      assert.equal(server.fault.code, 500)
      assert.equal(server.fault.message, `The disk of the host is full at ${broken}.`)
      assert.deepEqual(server.addresses, {})
      await assertNothingButTheRow(cloud, serverId)
      assert.deepEqual(await cloud.actions(serverId), ['create Error'])

      assert.equal((await cloud.member.delete(`/servers/${serverId}`)).statusCode, 202)
      await untilDone(cloud, serverId)
      assert.equal((await cloud.member.get(`/servers/${serverId}`)).statusCode, 404)
    })
  }

  test(`${database}: a create that never gets on ends in ERROR at its deadline`, async () => {
    await using cloud = await testCloud({ database })
    cloud.host.intercept = async (verb, _id, run) => {
      if (verb === 'ensureOn') throw new HostError('unreachable', 'The host does not answer.')
      return run()
    }
    const serverId = await makeServer(cloud)
    await cloud.advanceUntil(async () => (await cloud.server(serverId)).vmState === 'error', 10_000)
    const { faultMessage, taskState } = await cloud.server(serverId)
    assert.match(faultMessage ?? '', /'create' was not done in time; it hung at 'powerOn'/)
    assert.equal(taskState, null)
    await assertNothingButTheRow(cloud, serverId)
  })

  test(`${database}: a host call that never ends does not outlive the deadline`, async () => {
    await using cloud = await testCloud({ database })
    let hangs = false
    cloud.host.intercept = async (verb, _id, run) => {
      if (verb !== 'ensureDisk') return run()
      hangs = true
      return new Promise<never>(() => {})
    }
    const serverId = await makeServer(cloud)
    await until('the call hangs', () => hangs)
    await until('the deadline has passed', async () => {
      cloud.clock.advance(60_000)
      return (await cloud.server(serverId)).faultMessage !== null
    })
    await cloud.advanceUntil(async () => (await cloud.server(serverId)).vmState === 'error', 10_000)
    await assertNothingButTheRow(cloud, serverId)
  })

  test(`${database}: when no host fits, the fault says why each does not`, async () => {
    await using cloud = await testCloud({ database, memory: { facts: { ramMib: 64 } } })
    const serverId = await makeServer(cloud)
    await untilDone(cloud, serverId)
    const { server } = (await cloud.member.get(`/servers/${serverId}`)).json()
    assert.equal(
      server.fault.message,
      'No valid host was found. test-host: it has 64 MiB of memory free, 128 are needed.',
    )
    await assertNothingButTheRow(cloud, serverId)
  })

  test(`${database}: what one host can hold is given out once, however many ask at once`, async () => {
    await using cloud = await testCloud({ database, memory: { facts: { ramMib: 5 * 128 + 100 } } })
    const ids = await Promise.all(Array.from({ length: 12 }, () => makeServer(cloud)))
    for (const id of ids) await untilDone(cloud, id)
    const states = await Promise.all(ids.map(async (id) => (await cloud.server(id)).vmState))
    assert.equal(states.filter((state) => state === 'active').length, 5)
    assert.equal(states.filter((state) => state === 'error').length, 7)
    const { counters, sums } = await countersAndClaims(cloud)
    assert.deepEqual(counters, sums)
  })

  test(`${database}: a delete whose host is away goes on trying, ends in ERROR at its deadline, and can be asked again`, async () => {
    await using cloud = await testCloud({ database, servers: { web: {} } })
    let isAway = true
    cloud.host.intercept = async (_verb, _id, run) => {
      if (isAway) throw new HostError('unreachable', 'The host does not answer.')
      return run()
    }
    await cloud.member.delete(`/servers/${cloud.id.web}`)
    await cloud.advanceUntil(async () => (await cloud.server('web')).vmState === 'error', 10_000)
    isAway = false
    assert.equal((await cloud.member.delete(`/servers/${cloud.id.web}`)).statusCode, 202)
    await untilDone(cloud, cloud.id.web ?? '')
    assert.deepEqual(await tracesOf(cloud, cloud.id.web ?? ''), [])
  })

  test(`${database}: a start that fails leaves the server stopped, and it can be started again`, async () => {
    await using cloud = await testCloud({ database, servers: { web: {} } })
    await cloud.member.post(`/servers/${cloud.id.web}/action`, { 'os-stop': null })
    await cloud.settled()
    cloud.host.intercept = async (verb, _id, run) => {
      const cause = new Error('cannot set up guest memory')
      if (verb === 'ensureOn') throw new HostError('noMemory', 'The host is out of memory.', { cause })
      return run()
    }
    await cloud.member.post(`/servers/${cloud.id.web}/action`, { 'os-start': null })
    await untilDone(cloud, cloud.id.web ?? '')
    const { vmState, taskState, powerState, faultMessage, faultDetails } = await cloud.server('web')
    assert.deepEqual([vmState, taskState, powerState], ['stopped', null, 4])
    assert.deepEqual([faultMessage, faultDetails], ['The host is out of memory.', 'cannot set up guest memory'])
    cloud.host.intercept = (_verb, _id, run) => run()
    await cloud.member.post(`/servers/${cloud.id.web}/action`, { 'os-start': null })
    await untilDone(cloud, cloud.id.web ?? '')
    const again = await cloud.server('web')
    assert.deepEqual([again.vmState, again.faultMessage], ['active', null])
  })

  test(`${database}: a guest that ignores the power button stays ACTIVE after a shutdown, and goes down by a soft reboot`, async () => {
    await using cloud = await testCloud({ database, servers: { web: {} }, memory: { shutdownMs: Infinity } })
    await cloud.member.post(`/servers/${cloud.id.web}/action`, { 'os-shutdown': null })
    await untilDone(cloud, cloud.id.web ?? '')
    const { vmState, taskState } = await cloud.server('web')
    assert.deepEqual([vmState, taskState], ['active', null])
    assert.deepEqual(await cloud.actions('web'), ['create Success', 'shutdown Error'])
    await cloud.member.post(`/servers/${cloud.id.web}/action`, { reboot: { type: 'SOFT' } })
    await untilDone(cloud, cloud.id.web ?? '')
    assert.equal((await cloud.actions('web')).at(-1), 'reboot Success')
  })

  test(`${database}: the journal holds each step of an action, with its failures`, async () => {
    await using cloud = await testCloud({ database })
    let failures = 2
    cloud.host.intercept = async (verb, _id, run) => {
      if (verb === 'ensureDisk' && failures-- > 0) throw new HostError('unreachable', 'The host does not answer.')
      return run()
    }
    const serverId = await makeServer(cloud)
    await untilDone(cloud, serverId)
    const { id } = await cloud.cloud.db.read
      .selectFrom('actions')
      .select('id')
      .where('resourceId', '=', serverId)
      .executeTakeFirstOrThrow()
    const events = await listEvents(cloud.cloud.db.read, id)
    assert.deepEqual(
      events.map(({ step, result, message }) => [step, result, message]),
      [
        ['pickHost', 'Success', null],
        ['plugPorts', 'Success', null],
        ['buildDisks', 'Error', 'The host does not answer.'],
        ['buildDisks', 'Error', 'The host does not answer.'],
        ['buildDisks', 'Success', null],
        ['powerOn', 'Success', null],
        ['awaitRunning', 'Success', null],
      ],
    )
  })
}
