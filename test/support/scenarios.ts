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
