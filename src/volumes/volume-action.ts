/** What the durable actions of volumes share: their subject, and how statuses and failures are written. */
import type { Action, AnyAction, Outcome, Save, StepFacts } from '../actions/action.ts'
import { type Asker, acceptAction, findOpenAction } from '../actions/journal.ts'
import type { Cloud } from '../cloud.ts'
import type { Reader, Tx } from '../db/database.ts'
import type { VolumeStatus } from '../db/volume-schema.ts'
import { type HostDriver, HostError } from '../host/host-driver.ts'
import { ApiError } from '../http/api-error.ts'
import { lockVolume, updateVolume, type Volume } from './volume-store.ts'

/** What actions need of the cloud. */
export type VolumeParts = Pick<Cloud, 'config' | 'db' | 'clock' | 'hosts' | 'log'>

/** What the steps of a volume's actions work on. */
export interface VolumeSubject {
  volume: Volume
  /** Where the volume lies. @throws HostError unreachable when it is on no host this process reaches. */
  readonly host: HostDriver
}

/** Nothing of a volume takes longer than to copy it, in milliseconds. */
export const COPY_DEADLINE_MS = 60 * 60_000

/** What copies a volume longest is an image of a server that boots from it, in milliseconds. */
export const LONGEST_COPY_MS = 2 * COPY_DEADLINE_MS

interface VolumeActionSpec<Input, Step extends string> {
  name: string
  first: Step
  deadlineMs: number
  steps: Action<Input, Step, VolumeSubject>['steps']
  failed(context: VolumeSubject & StepFacts<Input>, error: Error): Outcome<Step>
  /** The status when cleaning up fails too. */
  abandoned(tx: Tx, volumeId: string, error: Error): Promise<void>
  entering?(tx: Tx, volumeId: string, step: Step): Promise<void>
}

/** Completes an action on a volume: reads its subject before each step. */
export function volumeAction<Input, Step extends string>(
  parts: VolumeParts,
  spec: VolumeActionSpec<Input, Step>,
): Action<Input, Step, VolumeSubject> {
  return {
    ...spec,
    async read(volumeId) {
      const volume = await parts.db.read.selectFrom('volumes').selectAll().where('id', '=', volumeId).executeTakeFirst()
      if (!volume) return undefined
      return {
        volume,
        get host() {
          return hostOf(parts, volume.hostName)
        },
      }
    },
  }
}

/** @throws HostError unreachable when this process does not reach it. */
export function hostOf({ hosts }: Pick<Cloud, 'hosts'>, hostName: string | null): HostDriver {
  const host = hostName === null ? undefined : hosts.get(hostName)
  if (host) return host
  throw new HostError('unreachable', `Host ${hostName ?? '(none)'} cannot be reached.`)
}

/** Ends a failed action in a status that says so, with what went wrong. */
export function failedAs(parts: VolumeParts, volumeId: string, status: VolumeStatus, error: Error): Save {
  const change = { status, statusBefore: null, faultMessage: error.message }
  return (tx) => updateVolume(tx, volumeId, change, parts.clock.now())
}

/** What a volume is while nothing is done with it: the row of its attachment says. */
export async function restingStatus(read: Reader, volumeId: string): Promise<VolumeStatus> {
  const device = await read
    .selectFrom('blockDevices')
    .select('status')
    .where('volumeId', '=', volumeId)
    .executeTakeFirst()
  if (!device) return 'available'
  return ({ attached: 'in-use', attaching: 'attaching', reserved: 'reserved', detaching: 'detaching' } as const)[
    device.status
  ]
}

/**
 * Ends a task that left the volume as it was: it goes back to what its attachment says, unless somebody else changed
 * its status meanwhile.
 * @param task the status shown while it went on.
 */
export async function restAfter(
  parts: Pick<Cloud, 'clock'>,
  tx: Tx,
  volumeId: string,
  task: VolumeStatus,
  change: Partial<Volume> = {},
): Promise<void> {
  // Whoever takes the attachment away meanwhile waits, and then sees the status that is written here.
  const { status } = await lockVolume(tx, volumeId)
  const rest = status === task ? { status: await restingStatus(tx, volumeId), statusBefore: null } : {}
  await updateVolume(tx, volumeId, { ...change, ...rest }, parts.clock.now())
}

/**
 * Demands that nothing is under way: a status set by hand must let nobody in while bytes are being changed or removed.
 * @throws ApiError conflictingRequest.
 */
export async function demandNoAction(read: Reader, resourceId: string): Promise<void> {
  if (!(await findOpenAction(read, resourceId))) return
  throw new ApiError('conflictingRequest', `Something else is being done with ${resourceId}; try again later.`)
}

/**
 * Opens an action on a volume or snapshot in the transaction that changed its status, and nudges the runner afterwards.
 * @throws ApiError conflictingRequest when another one is still open.
 */
export async function openAction<Input>(
  cloud: Pick<Cloud, 'clock' | 'runner'>,
  tx: Tx,
  action: AnyAction,
  resourceId: string,
  input: Input,
  asker: Asker,
): Promise<void> {
  await demandNoAction(tx, resourceId)
  await acceptAction(tx, action, resourceId, input, asker, cloud.clock.now())
  tx.onCommit(() => cloud.runner.nudge())
}
