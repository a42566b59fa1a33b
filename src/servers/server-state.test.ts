import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TaskState, VmState } from '../db/schema.ts'
import { ApiError } from '../http/api-error.ts'
import { assertStartable, type StateBoundAction, statesOf, statusOf } from './server-state.ts'

const server = (
  vmState: VmState,
  taskState: TaskState | null = null,
  launchedAt: number | null = 1,
  isLocked: 0 | 1 = 0,
) => ({
  id: 'a',
  vmState,
  taskState,
  launchedAt,
  isLocked,
})

const STATES: VmState[] = ['building', 'active', 'stopped', 'paused', 'suspended', 'resized', 'error', 'deleted']

// The rows of faults.md, section 3.
const NEEDED: Record<StateBoundAction, VmState[]> = {
  softReboot: ['active'],
  hardReboot: ['active', 'stopped', 'paused', 'suspended', 'error'],
  start: ['stopped'],
  stop: ['active', 'error'],
  shutdown: ['active'],
  attachInterface: ['active', 'stopped', 'paused'],
  detachInterface: ['active', 'stopped', 'paused'],
  addFixedIp: ['active', 'stopped', 'paused'],
  removeFixedIp: ['active', 'stopped', 'paused'],
  attachVolume: ['active', 'stopped', 'paused'],
  detachVolume: ['active', 'stopped', 'paused'],
  createImage: ['active', 'stopped', 'paused', 'suspended'],
  createBackup: ['active', 'stopped', 'paused', 'suspended'],
  changePassword: ['active'],
  attachKeypairs: ['active', 'stopped'],
  detachKeypairs: ['active', 'stopped'],
}

for (const [action, allowed] of Object.entries(NEEDED) as [StateBoundAction, VmState[]][]) {
  test(`${action} starts from ${allowed.join(', ')} and from nothing else`, () => {
    for (const state of STATES) {
      const start = () => assertStartable(server(state), action, false)
      if (allowed.includes(state)) assert.doesNotThrow(start)
      else assert.throws(start, (error) => error instanceof ApiError && error.message.endsWith(`vm_state ${state}.`))
    }
  })
}

test('the first wrong thing is named: vm_state, then task_state, then launched_at', () => {
  const message = (s: ReturnType<typeof server>) => {
    try {
      assertStartable(s, 'stop', false)
    } catch (error) {
      return (error as Error).message
    }
    return 'started'
  }
  assert.equal(
    message(server('stopped', 'powering-on', null)),
    "Cannot 'stop' instance a while it is in vm_state stopped.",
  )
  assert.equal(
    message(server('active', 'rebooting', null)),
    "Cannot 'stop' instance a while it is in task_state rebooting.",
  )
  assert.equal(message(server('active', null, null)), "Cannot 'stop' instance a while it is in launched_at None.")
  assert.equal(message(server('active')), 'started')
})

test('a hard reboot takes over a reboot that hangs, and a soft one does not', () => {
  assert.doesNotThrow(() => assertStartable(server('active', 'reboot_started'), 'hardReboot', false))
  assert.throws(() => assertStartable(server('active', 'reboot_started'), 'softReboot', false), ApiError)
  assert.throws(() => assertStartable(server('active', 'powering-off'), 'hardReboot', false), ApiError)
})

test('a locked server obeys admins only', () => {
  const locked = server('active', null, 1, 1)
  assert.throws(() => assertStartable(locked, 'stop', false), /locked/)
  assert.doesNotThrow(() => assertStartable(locked, 'stop', true))
  // An image of it changes nothing of it.
  assert.doesNotThrow(() => assertStartable(locked, 'createImage', false))
})

test('status follows from state and task', () => {
  assert.equal(statusOf('building', 'spawning'), 'BUILD')
  assert.equal(statusOf('active', null), 'ACTIVE')
  assert.equal(statusOf('active', 'powering-off'), 'ACTIVE')
  assert.equal(statusOf('active', 'rebooting'), 'REBOOT')
  assert.equal(statusOf('active', 'reboot_started_hard'), 'HARD_REBOOT')
  assert.equal(statusOf('active', 'updating_password'), 'PASSWORD')
  assert.equal(statusOf('stopped', 'rebooting_hard'), 'SHUTOFF')
})

test('a status filter names states, in any case, or nothing', () => {
  assert.deepEqual(statesOf('active'), { vmState: 'active' })
  assert.deepEqual(statesOf('Shutoff'), { vmState: 'stopped' })
  assert.deepEqual(statesOf('REBOOT'), {
    vmState: 'active',
    taskStates: ['rebooting', 'reboot_pending', 'reboot_started'],
  })
  assert.equal(statesOf('BOGUS'), undefined)
})
