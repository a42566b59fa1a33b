/** S07 to S10: which state lets what start, and how it ends. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Row, TaskState, VmState } from '../../src/db/schema.ts'
import { assertFault } from '../support/assert-fault.ts'
import { countRows } from '../support/count-rows.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { DATABASES, type TestCloud, testCloud } from '../support/test-cloud.ts'

const ACTIONS = {
  softReboot: { reboot: { type: 'SOFT' } },
  hardReboot: { reboot: { type: 'HARD' } },
  start: { 'os-start': null },
  stop: { 'os-stop': null },
  shutdown: { 'os-shutdown': null },
}
type ActionName = keyof typeof ACTIONS

/** What the messages call them. */
const SPOKEN: Record<ActionName, string> = {
  softReboot: 'reboot',
  hardReboot: 'reboot',
  start: 'start',
  stop: 'stop',
  shutdown: 'shutdown',
}

/** The state table, written down once more from shared/spec/faults.md, section 3. */
const NEEDS: Record<ActionName, { vmStates: VmState[]; taskStates: TaskState[] }> = {
  softReboot: { vmStates: ['active'], taskStates: [] },
  hardReboot: {
    vmStates: ['active', 'stopped', 'paused', 'suspended', 'error'],
    taskStates: [
      'rebooting',
      'reboot_pending',
      'reboot_started',
      'rebooting_hard',
      'reboot_pending_hard',
      'reboot_started_hard',
    ],
  },
  start: { vmStates: ['stopped'], taskStates: [] },
  stop: { vmStates: ['active', 'error'], taskStates: [] },
  shutdown: { vmStates: ['active'], taskStates: [] },
}
/** The task state that an accepted action is first seen in. */
const FIRST: Record<ActionName, TaskState> = {
  softReboot: 'rebooting',
  hardReboot: 'rebooting_hard',
  start: 'powering-on',
  stop: 'powering-off',
  shutdown: 'powering-off',
}
const VM_STATES = Object.keys({
  building: 0,
  active: 0,
  stopped: 0,
  paused: 0,
  suspended: 0,
  resized: 0,
  error: 0,
} satisfies Record<Exclude<VmState, 'deleted'>, 0>) as VmState[]
const TASK_STATES = [
  null,
  ...(Object.keys({
    scheduling: 0,
    networking: 0,
    block_device_mapping: 0,
    spawning: 0,
    'powering-on': 0,
    'powering-off': 0,
    rebooting: 0,
    reboot_pending: 0,
    reboot_started: 0,
    rebooting_hard: 0,
    reboot_pending_hard: 0,
    reboot_started_hard: 0,
    deleting: 0,
    image_snapshot: 0,
    image_snapshot_pending: 0,
    image_pending_upload: 0,
    image_uploading: 0,
    image_backup: 0,
    updating_password: 0,
  } satisfies Record<TaskState, 0>) as TaskState[]),
]

const setServer = (cloud: TestCloud, name: string, change: Partial<Row<'servers'>>) =>
  cloud.cloud.db.transaction((tx) =>
    tx
      .updateTable('servers')
      .set(change)
      .where('id', '=', cloud.id[name] ?? '')
      .execute(),
  )

const act = (cloud: TestCloud, name: string, body: object) =>
  cloud.member.post(`/servers/${cloud.id[name]}/action`, body)

/** Status, task, power: what a user sees of a server. */
async function seen(cloud: TestCloud, name = 'web'): Promise<unknown[]> {
  const { server } = (await cloud.member.get(`/servers/${cloud.id[name]}`)).json()
  return [server.status, server['OS-EXT-STS:task_state'], server['OS-EXT-STS:power_state']]
}

const isResting =
  (cloud: TestCloud, name = 'web') =>
  async () =>
    (await cloud.server(name)).taskState === null

for (const database of DATABASES) {
  describe(database, () => {
    test('every action in every state is accepted or refused as the table says, and a refusal leaves nothing', async () => {
      await using cloud = await testCloud({ database, servers: { web: {} } })
      // Nothing moves by itself: what is accepted stays at its first step.
      await cloud.cloud.runner[Symbol.asyncDispose]()
      const { launchedAt } = await cloud.server('web')
      const counted = await countRows(cloud)
      for (const vmState of VM_STATES) {
        for (const taskState of TASK_STATES) {
          for (const name of Object.keys(ACTIONS) as ActionName[]) {
            await setServer(cloud, 'web', { vmState, taskState, launchedAt })
            const what = `${name} of ${vmState}/${taskState}`
            const { vmStates, taskStates } = NEEDS[name]
            const before = await cloud.server('web')
            const answer = await act(cloud, 'web', ACTIONS[name])
            if (vmStates.includes(vmState) && (taskState === null || taskStates.includes(taskState))) {
              assert.equal(answer.statusCode, 202, `${what} ${answer.body}`)
              assert.equal(answer.body, '')
              assert.equal((await cloud.server('web')).taskState, FIRST[name], what)
              await cloud.cloud.db.transaction((tx) => tx.deleteFrom('actions').where('isOpen', '=', 1).execute())
              continue
            }
            const wrong = vmStates.includes(vmState) ? ['task_state', taskState] : ['vm_state', vmState]
            const message = new RegExp(`'${SPOKEN[name]}'.*${cloud.id.web}.*${wrong.join(' ')}`)
            assertFault(answer, 409, message, what)
            assert.deepEqual(await cloud.server('web'), before, what)
          }
        }
      }
      assert.deepEqual(await countRows(cloud), counted)
      // Ended already, so that closing the cloud finds nothing to do.
      await setServer(cloud, 'web', { vmState: 'active', taskState: null })
    })

    const shared = sharedCloud({
      database,
      servers: { web: {}, unborn: { vmState: 'error', launchedAt: null }, locked: { isLocked: 1 }, two: {}, gone: {} },
    })

    test('a server that never ran takes no action but delete', async () => {
      const cloud = shared()
      const counted = await countRows(cloud)
      for (const name of ['hardReboot', 'stop'] as const) {
        const answer = await act(cloud, 'unborn', ACTIONS[name])
        assertFault(answer, 409, new RegExp(`'${SPOKEN[name]}'.*launched_at`))
      }
      assert.deepEqual(await countRows(cloud), counted)
      assert.equal((await cloud.member.delete(`/servers/${cloud.id.unborn}`)).statusCode, 202)
      await cloud.settled()
    })

    test('a locked server takes nothing from its owner, and everything from an admin', async () => {
      const cloud = shared()
      const counted = await countRows(cloud)
      for (const body of Object.values(ACTIONS)) assertFault(await act(cloud, 'locked', body), 409, /locked/)
      assertFault(await cloud.member.delete(`/servers/${cloud.id.locked}`), 409, /locked/)
      assert.deepEqual(await countRows(cloud), counted)
      const answer = await cloud.admin.post(`/servers/${cloud.id.locked}/action`, ACTIONS.stop)
      assert.equal(answer.statusCode, 202)
      await cloud.settled()
      assert.deepEqual(await seen(cloud, 'locked'), ['SHUTOFF', null, 4])
      assert.equal((await cloud.admin.delete(`/servers/${cloud.id.locked}`)).statusCode, 202)
      await cloud.settled()
      assert.equal((await cloud.member.get(`/servers/${cloud.id.locked}`)).statusCode, 404)
    })

    test('stop cuts the power, start gives it back, and the time of the first launch stays', async () => {
      const cloud = shared()
      const { launchedAt } = await cloud.server('web')
      cloud.clock.advance(60_000)
      assert.equal((await act(cloud, 'web', { 'os-stop': { any: 'value' } })).statusCode, 202)
      await cloud.settled()
      assert.deepEqual(await seen(cloud), ['SHUTOFF', null, 4])
      assert.equal(cloud.machine.servers.get(cloud.id.web ?? '')?.power, 'off')
      const { server } = (await cloud.member.get(`/servers/${cloud.id.web}`)).json()
      assert.equal(server.progress, undefined)
      assert.equal((await act(cloud, 'web', { 'os-start': '' })).statusCode, 202)
      await cloud.settled()
      assert.deepEqual(await seen(cloud), ['ACTIVE', null, 1])
      assert.equal(cloud.machine.servers.get(cloud.id.web ?? '')?.power, 'on')
      assert.equal((await cloud.server('web')).launchedAt, launchedAt)
      assert.deepEqual(await cloud.actions('web'), ['create Success', 'stop Success', 'start Success'])
    })

    test('reboots of either kind, in any case, end in ACTIVE', async () => {
      const cloud = shared()
      for (const type of ['SOFT', 'HARD', 'soft', 'Hard']) {
        assert.equal((await act(cloud, 'web', { reboot: { type, extra: 1 } })).statusCode, 202)
        await cloud.advanceUntil(isResting(cloud))
        assert.deepEqual(await seen(cloud), ['ACTIVE', null, 1], type)
        assert.equal(cloud.machine.servers.get(cloud.id.web ?? '')?.power, 'on')
      }
    })

    test('a hard reboot starts a server that is off, and one in ERROR', async () => {
      const cloud = shared()
      for (const change of [
        { vmState: 'stopped', powerState: 4 },
        { vmState: 'error', powerState: 0, faultCode: 500, faultMessage: 'It broke.', faultAt: 0 },
      ] as const) {
        await cloud.host.ensureOff(cloud.id.web ?? '')
        await setServer(cloud, 'web', change)
        assert.equal((await act(cloud, 'web', ACTIONS.hardReboot)).statusCode, 202)
        await cloud.settled()
        assert.deepEqual(await seen(cloud), ['ACTIVE', null, 1])
        assert.equal((await cloud.server('web')).faultMessage, null)
      }
    })

    test('while a guest shuts down for a reboot its status is REBOOT', async () => {
      const cloud = shared()
      cloud.host.shutdownMs = 5_000
      await act(cloud, 'web', ACTIONS.softReboot)
      await cloud.settled()
      assert.deepEqual(await seen(cloud), ['REBOOT', 'reboot_pending', 1])
      await cloud.advanceUntil(isResting(cloud))
      assert.deepEqual(await seen(cloud), ['ACTIVE', null, 1])
      cloud.host.shutdownMs = 0
    })

    test('a hard reboot takes over a soft one that hangs', async () => {
      await using cloud = await testCloud({ database, servers: { web: {} }, memory: { shutdownMs: Infinity } })
      await act(cloud, 'web', ACTIONS.softReboot)
      await cloud.settled()
      assert.equal((await act(cloud, 'web', ACTIONS.hardReboot)).statusCode, 202)
      await cloud.advanceUntil(isResting(cloud))
      assert.deepEqual(await seen(cloud), ['ACTIVE', null, 1])
      assert.deepEqual(await cloud.actions('web'), ['create Success', 'reboot Superseded', 'reboot Success'])
    })

    test('a guest that ignores a soft reboot is reset after a minute', async () => {
      await using cloud = await testCloud({ database, servers: { web: {} }, memory: { shutdownMs: Infinity } })
      const at = cloud.clock.now()
      await act(cloud, 'web', ACTIONS.softReboot)
      await cloud.advanceUntil(isResting(cloud))
      assert.deepEqual(await seen(cloud), ['ACTIVE', null, 1])
      assert.ok(cloud.clock.now() - at > 60_000)
      assert.deepEqual(await cloud.actions('web'), ['create Success', 'reboot Success'])
    })

    test('a shutdown waits for a guest that obeys', async () => {
      await using cloud = await testCloud({ database, servers: { web: {} }, memory: { shutdownMs: 10_000 } })
      assert.equal((await act(cloud, 'web', ACTIONS.shutdown)).statusCode, 202)
      await cloud.settled()
      assert.deepEqual(await seen(cloud), ['ACTIVE', 'powering-off', 1])
      await cloud.advanceUntil(isResting(cloud))
      assert.deepEqual(await seen(cloud), ['SHUTOFF', null, 4])
      assert.deepEqual(await cloud.actions('web'), ['create Success', 'shutdown Success'])
    })

    test('a guest that ignores a shutdown is ACTIVE again, untouched, and takes the next action', async () => {
      await using cloud = await testCloud({ database, servers: { web: {} }, memory: { shutdownMs: Infinity } })
      await act(cloud, 'web', ACTIONS.shutdown)
      await cloud.advanceUntil(isResting(cloud))
      assert.deepEqual(await seen(cloud), ['ACTIVE', null, 1])
      assert.deepEqual(await cloud.actions('web'), ['create Success', 'shutdown Error'])
      await act(cloud, 'web', ACTIONS.stop)
      await cloud.settled()
      assert.deepEqual(await seen(cloud), ['SHUTOFF', null, 4])
    })

    test('of conflicting actions at once exactly one is accepted', async () => {
      const cloud = shared()
      for (let round = 0; round < 5; round++) {
        const bodies = [ACTIONS.stop, ACTIONS.shutdown, ACTIONS.softReboot, ACTIONS.stop]
        const answers = await Promise.all(bodies.map((body) => act(cloud, 'two', body)))
        const statuses = answers.map(({ statusCode }) => statusCode).sort()
        assert.deepEqual(statuses, [202, 409, 409, 409])
        for (const answer of answers) {
          if (answer.statusCode === 409) assertFault(answer, 409, new RegExp(cloud.id.two ?? ''))
        }
        await cloud.advanceUntil(isResting(cloud, 'two'))
        await act(cloud, 'two', ACTIONS.hardReboot)
        await cloud.advanceUntil(isResting(cloud, 'two'))
        assert.deepEqual(await seen(cloud, 'two'), ['ACTIVE', null, 1])
      }
    })

    test('renames at the same time are no reason to refuse', async () => {
      const cloud = shared()
      for (let round = 0; round < 5; round++) {
        cloud.clock.advance(1_000)
        const rename = (n: number) => cloud.member.put(`/servers/${cloud.id.two}`, { server: { name: `two-${n}` } })
        const body = round % 2 === 0 ? ACTIONS.stop : ACTIONS.start
        const answers = await Promise.all([rename(1), rename(2), act(cloud, 'two', body), rename(3), rename(4)])
        assert.deepEqual(
          answers.map(({ statusCode }) => statusCode),
          [200, 200, 202, 200, 200],
          answers[2].body,
        )
        await cloud.advanceUntil(isResting(cloud, 'two'))
      }
      await act(cloud, 'two', ACTIONS.start)
      await cloud.settled()
      assert.deepEqual(await seen(cloud, 'two'), ['ACTIVE', null, 1])
    })

    test('hard reboots at once end in one running server', async () => {
      const cloud = shared()
      const answers = await Promise.all(Array.from({ length: 5 }, () => act(cloud, 'two', ACTIONS.hardReboot)))
      assert.ok(answers.some(({ statusCode }) => statusCode === 202))
      assert.ok(answers.every(({ statusCode }) => [202, 409].includes(statusCode)))
      await cloud.advanceUntil(isResting(cloud, 'two'))
      assert.deepEqual(await seen(cloud, 'two'), ['ACTIVE', null, 1])
    })

    test('a deleted server takes no action', async () => {
      const cloud = shared()
      await cloud.member.delete(`/servers/${cloud.id.gone}`)
      await cloud.settled()
      for (const body of Object.values(ACTIONS)) assertFault(await act(cloud, 'gone', body), 404, /could not be found/)
    })
  })
}
