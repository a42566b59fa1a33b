/**
 * What may start when, and what users see. Both tables are total: a new state does not compile until it says what it
 * allows and how it is called.
 * Source: shared/spec/faults.md, sections 3 and 4.
 */
import type { Row, TaskState, VmState } from '../db/schema.ts'
import { ApiError } from '../http/api-error.ts'

/** What can be asked of a server and needs a certain state. */
export type StateBoundAction =
  | 'softReboot'
  | 'hardReboot'
  | 'start'
  | 'stop'
  | 'shutdown'
  | CardAction
  | DiskAction
  | GuestAction
type CardAction = 'attachInterface' | 'detachInterface' | 'addFixedIp' | 'removeFixedIp'
type DiskAction = 'attachVolume' | 'detachVolume' | 'createImage' | 'createBackup'
type GuestAction = 'changePassword' | 'attachKeypairs' | 'detachKeypairs'

const CARD_ACTIONS = ['attachInterface', 'detachInterface', 'addFixedIp', 'removeFixedIp'] as const
const IMAGE_ACTIONS = ['createImage', 'createBackup'] as const
const DISK_ACTIONS = ['attachVolume', 'detachVolume', ...IMAGE_ACTIONS] as const

const DEVICE_ACTIONS = [...CARD_ACTIONS, ...DISK_ACTIONS] as const
const KEY_ACTIONS = ['attachKeypairs', 'detachKeypairs'] as const

const startable = {
  building: [],
  active: ['softReboot', 'hardReboot', 'stop', 'shutdown', 'changePassword', ...KEY_ACTIONS, ...DEVICE_ACTIONS],
  stopped: ['hardReboot', 'start', ...KEY_ACTIONS, ...DEVICE_ACTIONS],
  paused: ['hardReboot', ...DEVICE_ACTIONS],
  suspended: ['hardReboot', ...IMAGE_ACTIONS],
  resized: [],
  error: ['hardReboot', 'stop'],
  deleted: [],
} as const satisfies Record<VmState, readonly StateBoundAction[]>

/** Tasks an action may take over; every other one must end first. */
const takesOver: Record<StateBoundAction, readonly TaskState[]> = {
  softReboot: [],
  hardReboot: [
    'rebooting',
    'reboot_pending',
    'reboot_started',
    'rebooting_hard',
    'reboot_pending_hard',
    'reboot_started_hard',
  ],
  start: [],
  stop: [],
  shutdown: [],
  attachInterface: [],
  detachInterface: [],
  addFixedIp: [],
  removeFixedIp: [],
  attachVolume: [],
  detachVolume: [],
  createImage: [],
  createBackup: [],
  changePassword: [],
  attachKeypairs: [],
  detachKeypairs: [],
}

/** How messages call it. */
export const SPOKEN: Record<StateBoundAction, string> = {
  softReboot: 'reboot',
  hardReboot: 'reboot',
  start: 'start',
  stop: 'stop',
  shutdown: 'shutdown',
  attachInterface: 'attach_interface',
  detachInterface: 'detach_interface',
  addFixedIp: 'add_fixed_ip',
  removeFixedIp: 'remove_fixed_ip',
  attachVolume: 'attach_volume',
  detachVolume: 'detach_volume',
  createImage: 'createImage',
  createBackup: 'createBackup',
  changePassword: 'changePassword',
  attachKeypairs: 'attachKeypairs',
  detachKeypairs: 'detachKeypairs',
}

type Stateful = Pick<Row<'servers'>, 'id' | 'vmState' | 'taskState' | 'launchedAt' | 'isLocked'>

/**
 * Checks that an action may start now: the lock (an image can be made of a locked server), then vm_state, task_state, and whether it ever ran.
 * @throws ApiError conflictingRequest naming the first that is wrong.
 */
export function assertStartable(server: Stateful, action: StateBoundAction, isAdmin: boolean): void {
  if (action !== 'createImage') assertUnlocked(server, isAdmin)
  const refuse = (attribute: string, value: string): never => {
    throw new ApiError(
      'conflictingRequest',
      `Cannot '${SPOKEN[action]}' instance ${server.id} while it is in ${attribute} ${value}.`,
    )
  }
  const allowed: readonly StateBoundAction[] = startable[server.vmState]
  if (!allowed.includes(action)) refuse('vm_state', server.vmState)
  if (server.taskState !== null && !takesOver[action].includes(server.taskState)) refuse('task_state', server.taskState)
  if (server.launchedAt === null) refuse('launched_at', 'None')
}

/** @throws ApiError conflictingRequest when the server is locked and the caller is no admin. */
export function assertUnlocked(server: Pick<Row<'servers'>, 'id' | 'isLocked'>, isAdmin: boolean): void {
  if (server.isLocked && !isAdmin) throw new ApiError('conflictingRequest', `Instance ${server.id} is locked.`)
}

export type ServerStatus =
  | 'ACTIVE'
  | 'BUILD'
  | 'SHUTOFF'
  | 'PAUSED'
  | 'SUSPENDED'
  | 'VERIFY_RESIZE'
  | 'ERROR'
  | 'DELETED'
  | 'REBOOT'
  | 'HARD_REBOOT'
  | 'PASSWORD'

const STATUS: Record<VmState, ServerStatus> = {
  building: 'BUILD',
  active: 'ACTIVE',
  stopped: 'SHUTOFF',
  paused: 'PAUSED',
  suspended: 'SUSPENDED',
  resized: 'VERIFY_RESIZE',
  error: 'ERROR',
  deleted: 'DELETED',
}

/** Tasks that a running server's users see as a status of their own; null: the state's status goes on. */
const TASK_STATUS: Record<TaskState, ServerStatus | null> = {
  scheduling: null,
  networking: null,
  block_device_mapping: null,
  spawning: null,
  'powering-on': null,
  'powering-off': null,
  rebooting: 'REBOOT',
  reboot_pending: 'REBOOT',
  reboot_started: 'REBOOT',
  rebooting_hard: 'HARD_REBOOT',
  reboot_pending_hard: 'HARD_REBOOT',
  reboot_started_hard: 'HARD_REBOOT',
  deleting: null,
  image_snapshot: null,
  image_snapshot_pending: null,
  image_pending_upload: null,
  image_uploading: null,
  image_backup: null,
  updating_password: 'PASSWORD',
}

/** The word users see. */
export function statusOf(vmState: VmState, taskState: TaskState | null): ServerStatus {
  return (vmState === 'active' && taskState !== null && TASK_STATUS[taskState]) || STATUS[vmState]
}

/**
 * The states a status filter stands for; a task list narrows it. `ACTIVE` finds servers shown as REBOOT too, as Nova
 * does. Undefined for a status that does not exist.
 */
export function statesOf(status: string): { vmState: VmState; taskStates?: TaskState[] } | undefined {
  const wanted = status.toUpperCase()
  for (const [vmState, name] of Object.entries(STATUS) as [VmState, ServerStatus][]) {
    if (name === wanted) return { vmState }
  }
  const taskStates = (Object.entries(TASK_STATUS) as [TaskState, ServerStatus | null][])
    .filter(([, name]) => name === wanted)
    .map(([task]) => task)
  return taskStates.length > 0 ? { vmState: 'active', taskStates } : undefined
}

/** Statuses under which a view shows `progress`. */
export const SHOWS_PROGRESS: ReadonlySet<ServerStatus> = new Set(['ACTIVE', 'BUILD', 'VERIFY_RESIZE'])
/** Statuses under which a view shows `fault`. */
export const SHOWS_FAULT: ReadonlySet<ServerStatus> = new Set(['ERROR', 'DELETED'])
