/** Every durable action of servers as a story with a beginning and an end that must come true. */
import assert from 'node:assert/strict'
import { tracesOf } from './host-faults.ts'
import type { TestCloud } from './test-cloud.ts'

export interface Scenario {
  name: string
  /** The server is brought here first, without faults. */
  from: 'nothing' | 'ACTIVE' | 'SHUTOFF'
  /** Asks for the action; the id of the server it is about. */
  ask(cloud: TestCloud, serverId: string): Promise<string>
  /** What must be true in the end. */
  ended(cloud: TestCloud, serverId: string): Promise<void>
}

const accepted = (answer: { statusCode: number; body: string }): void =>
  assert.equal(answer.statusCode, 202, answer.body)

export async function makeServer(cloud: TestCloud): Promise<string> {
  const answer = await cloud.member.post('/servers', await cloud.wish())
  accepted(answer)
  return answer.json().server.id
}

const act =
  (body: Record<string, unknown>) =>
  async (cloud: TestCloud, serverId: string): Promise<string> => {
    accepted(await cloud.member.post(`/servers/${serverId}/action`, body))
    return serverId
  }

async function isActive(cloud: TestCloud, serverId: string): Promise<void> {
  const { vmState, taskState, powerState, hostName, launchedAt } = await cloud.server(serverId)
  assert.deepEqual(
    { vmState, taskState, powerState, hostName },
    { vmState: 'active', taskState: null, powerState: 1, hostName: 'test-host' },
  )
  assert.ok(launchedAt)
  assert.equal(cloud.machine.servers.get(serverId)?.power, 'on')
  assert.equal([...cloud.machine.ports.values()].filter((port) => port.serverId === serverId).length, 1)
}

async function isOff(cloud: TestCloud, serverId: string): Promise<void> {
  const { vmState, taskState, powerState } = await cloud.server(serverId)
  assert.deepEqual({ vmState, taskState, powerState }, { vmState: 'stopped', taskState: null, powerState: 4 })
  assert.equal(cloud.machine.servers.get(serverId)?.power, 'off')
}

/** The server's cards, as the API lists them. */
async function listCards(cloud: TestCloud, serverId: string): Promise<{ port_id: string; net_id: string }[]> {
  return (await cloud.member.get(`/servers/${serverId}/os-interface`)).json().interfaceAttachments
}

/** The rows, the guest and the host agree that it has so many cards, and no port of the cloud is left over. */
async function hasCards(cloud: TestCloud, serverId: string, count: number): Promise<void> {
  await cloud.settled()
  const listed = (await listCards(cloud, serverId)).map(({ port_id }) => port_id).sort()
  assert.equal(listed.length, count)
  assert.deepEqual([...(cloud.machine.servers.get(serverId)?.cards.keys() ?? [])].sort(), listed)
  const onHost = [...cloud.machine.ports.values()].filter((port) => port.serverId === serverId)
  assert.deepEqual(onHost.map(({ portId }) => portId).sort(), listed)
  const ports = await cloud.cloud.db.read
    .selectFrom('ports')
    .select(['id', 'deviceId', 'status', 'deviceOwner'])
    .execute()
  assert.deepEqual(
    ports.filter(({ deviceId, deviceOwner }) => deviceId === '' && deviceOwner === ''),
    [],
  )
  const own = ports.filter(({ deviceId }) => deviceId === serverId)
  assert.deepEqual(
    own.map(({ status }) => status),
    own.map(() => 'ACTIVE'),
  )
  const { vmState, taskState } = await cloud.server(serverId)
  assert.deepEqual([vmState, taskState], ['active', null])
}

async function isGone(cloud: TestCloud, serverId: string): Promise<void> {
  assert.equal((await cloud.member.get(`/servers/${serverId}`)).statusCode, 404)
  assert.deepEqual(await tracesOf(cloud, serverId), [])
}

export const SCENARIOS: Scenario[] = [
  { name: 'create', from: 'nothing', ask: (cloud) => makeServer(cloud), ended: isActive },
  { name: 'start', from: 'SHUTOFF', ask: act({ 'os-start': null }), ended: isActive },
  { name: 'stop', from: 'ACTIVE', ask: act({ 'os-stop': null }), ended: isOff },
  { name: 'shutdown', from: 'ACTIVE', ask: act({ 'os-shutdown': null }), ended: isOff },
  { name: 'soft reboot', from: 'ACTIVE', ask: act({ reboot: { type: 'SOFT' } }), ended: isActive },
  { name: 'hard reboot', from: 'ACTIVE', ask: act({ reboot: { type: 'HARD' } }), ended: isActive },
  {
    name: 'attach',
    from: 'ACTIVE',
    async ask(cloud, serverId) {
      const [card] = await listCards(cloud, serverId)
      const wish = { interfaceAttachment: { net_id: card?.net_id } }
      const answer = await cloud.member.post(`/servers/${serverId}/os-interface`, wish)
      assert.equal(answer.statusCode, 200, answer.body)
      return serverId
    },
    ended: (cloud, serverId) => hasCards(cloud, serverId, 2),
  },
  {
    name: 'detach',
    from: 'ACTIVE',
    async ask(cloud, serverId) {
      const [card] = await listCards(cloud, serverId)
      accepted(await cloud.member.delete(`/servers/${serverId}/os-interface/${card?.port_id}`))
      return serverId
    },
    ended: (cloud, serverId) => hasCards(cloud, serverId, 0),
  },
  {
    name: 'delete',
    from: 'ACTIVE',
    async ask(cloud, serverId) {
      accepted(await cloud.member.delete(`/servers/${serverId}`))
      return serverId
    },
    ended: isGone,
  },
]

/** A server where the scenario begins; '' for nothing. */
export async function begin(cloud: TestCloud, scenario: Scenario): Promise<string> {
  if (scenario.from === 'nothing') return ''
  const serverId = await makeServer(cloud)
  await cloud.settled()
  if (scenario.from === 'SHUTOFF') {
    await act({ 'os-stop': null })(cloud, serverId)
    await cloud.settled()
  }
  return serverId
}

/** Lets time pass until no action of the server is open. */
export async function untilDone(cloud: TestCloud, serverId: string): Promise<void> {
  await cloud.advanceUntil(
    async () => !(await cloud.actions(serverId)).some((action) => action.endsWith(' open')),
    2_500,
  )
}
