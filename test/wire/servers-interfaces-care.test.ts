/** What happens around a network card that is on its way: other requests, failures, deletes, restarts of the machine. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HostError, type HostFailure } from '../../src/host/host-driver.ts'
import { assertFault } from '../support/assert-fault.ts'
import { addNetwork, addPort } from '../support/network-rows.ts'
import { untilDone } from '../support/scenarios.ts'
import { type Answer, DATABASES, type TestCloud, testCloud } from '../support/test-cloud.ts'
import { until } from '../support/until.ts'

interface World {
  cloud: TestCloud
  serverId: string
  /** The card it was made with. */
  first: string
  /** A port that a user made, on another network. */
  port: string
}

async function open(database: (typeof DATABASES)[number], resumeGuests = true): Promise<World & AsyncDisposable> {
  const cloud = await testCloud({ database, servers: { web: {} }, config: { resumeGuests } })
  const { projectId } = cloud.member
  const networkId = await addNetwork(cloud, { projectId, cidr: '10.9.0.0/24' })
  const { id: port } = await addPort(cloud, { projectId, networkId })
  const serverId = cloud.id.web ?? ''
  const [first = ''] = await cardIds(cloud, serverId)
  return { cloud, serverId, first, port, [Symbol.asyncDispose]: () => cloud[Symbol.asyncDispose]() }
}

async function cardIds(cloud: TestCloud, serverId: string): Promise<string[]> {
  const { interfaceAttachments } = (await cloud.member.get(`/servers/${serverId}/os-interface`)).json()
  return interfaceAttachments.map(({ port_id }: { port_id: string }) => port_id)
}

const attach = ({ cloud, serverId }: World, interfaceAttachment: object) =>
  cloud.member.post(`/servers/${serverId}/os-interface`, { interfaceAttachment })
const detach = ({ cloud, serverId }: World, portId: string) =>
  cloud.member.delete(`/servers/${serverId}/os-interface/${portId}`)
const act = ({ cloud, serverId }: World, body: object) => cloud.member.post(`/servers/${serverId}/action`, body)

const guestCards = ({ cloud, serverId }: World) => [...(cloud.machine.servers.get(serverId)?.cards.keys() ?? [])].sort()
const readPort = async ({ cloud, port }: World) => ({
  ...(await cloud.cloud.db.read
    .selectFrom('ports')
    .select(['deviceId', 'deviceOwner', 'status'])
    .where('id', '=', port)
    .executeTakeFirst()),
})

/** Holds back the calls of one verb; `reached` resolves with the first. */
function holdBack({ cloud }: World, held: string) {
  const gate = Promise.withResolvers<void>()
  const reached = Promise.withResolvers<void>()
  cloud.host.intercept = async (verb, _id, run) => {
    if (verb === held) {
      reached.resolve()
      await gate.promise
    }
    return run()
  }
  return { reached: reached.promise, letGo: gate.resolve }
}

function failing({ cloud }: World, failing: string, failure: HostFailure) {
  cloud.host.intercept = (verb, _id, run) => {
    if (verb === failing) throw new HostError(failure, 'The guest does not let go.')
    return run()
  }
}

for (const database of DATABASES) {
  test(`${database}: whatever needs the server at rest waits for a card under way, and does not fail for it`, async () => {
    await using world = await open(database)
    const { cloud, port, first } = world
    for (const body of [{ 'os-stop': null }, { 'os-start': null }, { reboot: { type: 'HARD' } }]) {
      const held = holdBack(world, 'ensurePort')
      assert.equal((await attach(world, { port_id: port })).statusCode, 200)
      await held.reached
      const answer = act(world, body)
      held.letGo()
      assert.equal((await answer).statusCode, 202, (await answer).body)
      await untilDone(cloud, world.serverId)
      assert.equal((await detach(world, port)).statusCode, 202)
      const [again, other] = await Promise.all([detach(world, port), attach(world, {})])
      // One sees the card still, or waits until it is gone.
      assert.ok([404, 202].includes(again.statusCode), again.body)
      assert.ok([200, 400].includes(other.statusCode), other.body)
      await untilDone(cloud, world.serverId)
      assert.deepEqual((await readPort(world)).deviceId, '')
    }
    assert.deepEqual(await cardIds(cloud, world.serverId), [first])
  })

  test(`${database}: a card that takes too long makes others be refused, and a delete take over`, async () => {
    await using world = await open(database)
    const { cloud, serverId, first, port } = world
    const held = holdBack(world, 'ensureCard')
    assert.equal((await attach(world, { port_id: port })).statusCode, 200)
    await held.reached
    const refused: [spoken: string, answer: Promise<Answer>][] = [
      ['stop', act(world, { 'os-stop': null })],
      ['reboot', act(world, { reboot: { type: 'HARD' } })],
      ['detach_interface', detach(world, first)],
      ['attach_interface', attach(world, { port_id: port })],
    ]
    for (const [spoken, answer] of refused) {
      assertFault(await answer, 409, new RegExp(`'${spoken}'.*${serverId}.*being attached or detached`))
    }
    assert.equal((await cloud.member.delete(`/servers/${serverId}`)).statusCode, 202)
    held.letGo()
    await untilDone(cloud, serverId)
    assert.deepEqual(await cloud.actions('web'), ['create Success', 'attachInterface Superseded', 'delete Success'])
    assert.deepEqual(await readPort(world), { deviceId: '', deviceOwner: '', status: 'DOWN' })
    await cloud.settled()
    assert.equal(cloud.machine.ports.size, 0)
  })

  test(`${database}: a card that cannot be plugged leaves the server as it was, and no port`, async () => {
    await using world = await open(database)
    const { cloud, serverId, first, port } = world
    const { id: networkId } = await cloud.cloud.db.read
      .selectFrom('networks')
      .select('id')
      .where('name', '=', 'private')
      .executeTakeFirstOrThrow()
    for (const [verb, wish] of [
      ['ensureCard', { port_id: port }],
      ['ensureCard', { net_id: networkId }],
      ['ensurePort', { net_id: networkId }],
    ] as const) {
      failing(world, verb, 'startFailed')
      const answer = await attach(world, wish)
      assert.equal(answer.statusCode, 200)
      const { port_id: portId } = answer.json().interfaceAttachment
      await untilDone(cloud, serverId)
      await cloud.settled()
      assert.deepEqual(await cardIds(cloud, serverId), [first])
      assert.deepEqual(guestCards(world), [first])
      assert.equal(cloud.machine.ports.has(portId), false)
      const ports = await cloud.cloud.db.read.selectFrom('ports').select('id').where('id', '=', portId).execute()
      assert.equal(ports.length, 'port_id' in wish ? 1 : 0)
      const { vmState, taskState, faultMessage } = await cloud.server('web')
      assert.deepEqual([vmState, taskState, faultMessage], ['active', null, null])
    }
    assert.deepEqual(await readPort(world), { deviceId: '', deviceOwner: '', status: 'DOWN' })
    assert.deepEqual((await cloud.actions('web')).slice(1), Array(3).fill('attachInterface Error'))
  })

  test(`${database}: a guest that never lets go keeps its card, and is asked again by the next request`, async () => {
    await using world = await open(database)
    const { cloud, serverId, first } = world
    failing(world, 'removeCard', 'unreachable')
    assert.equal((await detach(world, first)).statusCode, 202)
    await untilDone(cloud, serverId)
    assert.deepEqual(await cardIds(cloud, serverId), [first])
    assert.ok(cloud.machine.ports.has(first))
    const { vmState, taskState } = await cloud.server('web')
    assert.deepEqual([vmState, taskState], ['active', null])
    cloud.host.intercept = (_verb, _id, run) => run()
    assert.equal((await detach(world, first)).statusCode, 202)
    await untilDone(cloud, serverId)
    assert.deepEqual(await cardIds(cloud, serverId), [])
    assert.deepEqual((await cloud.actions('web')).slice(1), ['detachInterface Error', 'detachInterface Success'])
  })

  test(`${database}: a guest that shuts itself down meanwhile has the card at its next start`, async () => {
    await using world = await open(database)
    const { cloud, serverId, first, port } = world
    const held = holdBack(world, 'ensureCard')
    await attach(world, { port_id: port })
    await held.reached
    cloud.host.powerOffFromInside(serverId)
    await until('the sweep has seen it', async () => (await cloud.server(serverId)).vmState === 'stopped')
    held.letGo()
    await untilDone(cloud, serverId)
    assert.equal((await readPort(world)).status, 'DOWN')
    assert.equal((await act(world, { 'os-start': null })).statusCode, 202)
    await untilDone(cloud, serverId)
    assert.deepEqual(guestCards(world), [first, port].sort())
    assert.equal((await readPort(world)).status, 'ACTIVE')
  })

  for (const resumes of [true, false]) {
    test(`${database}: a machine that goes down with a card under way ${resumes ? 'resumes its guests' : 'leaves its guests off'}, and forgets none`, async () => {
      await using world = await open(database, resumes)
      const { cloud, serverId, first, port } = world
      const reboot = async () => {
        cloud.host.rebootMachine()
        await cloud.killAndStart()
        await untilDone(cloud, serverId)
        if (!resumes) {
          await cloud.advanceUntil(async () => (await cloud.server(serverId)).vmState === 'stopped')
          assert.equal((await act(world, { 'os-start': null })).statusCode, 202)
          await untilDone(cloud, serverId)
        }
        await cloud.settled()
        assert.deepEqual((await cloud.server(serverId)).vmState, 'active')
      }
      for (const verb of ['ensurePort', 'ensureCard']) {
        const held = holdBack(world, verb)
        assert.equal((await attach(world, { port_id: port })).statusCode, 200)
        await held.reached
        await reboot()
        assert.deepEqual(guestCards(world), [first, port].sort(), verb)
        assert.equal((await readPort(world)).status, 'ACTIVE')
        const release = holdBack(world, verb === 'ensurePort' ? 'removeCard' : 'removePort')
        assert.equal((await detach(world, port)).statusCode, 202)
        await release.reached
        await reboot()
        assert.deepEqual(guestCards(world), [first], verb)
        assert.deepEqual(await readPort(world), { deviceId: '', deviceOwner: '', status: 'DOWN' })
        assert.deepEqual([...cloud.machine.ports.keys()], [first])
      }
    })
  }
}
