/** The durable actions of servers, and what `POST …/action` takes: one row each. */
import { type TSchema, Type } from 'typebox'
import type { AnyAction } from '../actions/action.ts'
import { FLOATING_IP_ROWS } from '../compute-network/floating-ip-actions.ts'
import { SECURITY_GROUP_ROWS } from '../compute-network/security-group-actions.ts'
import type { TaskState } from '../db/schema.ts'
import { type ActionCall, type ActionRow, row } from './action-row.ts'
import { type AttachWish, acceptAttachVolume } from './attach-volume.ts'
import { AttachVolumeBody } from './attachment-schema.ts'
import { attachmentView } from './attachment-view.ts'
import { buildServer } from './build-server.ts'
import { attachInterface, detachInterface } from './change-cards.ts'
import { attachVolume, detachVolume } from './change-disks.ts'
import { attachKeypairs, changePassword, detachKeypairs, tellKeypairs } from './change-guest.ts'
import { CONSOLE_ROWS } from './console-actions.ts'
import { deleteServer } from './delete-server.ts'
import { afterDeviceChanges } from './device-changes.ts'
import { FIXED_IP_ROWS } from './fixed-ip-actions.ts'
import { IMAGE_ROWS } from './image-actions.ts'
import { openAction } from './open-action.ts'
import { shutdownServer, startServer, stopServer } from './power-server.ts'
import { rebootServer } from './reboot-server.ts'
import type { ActionParts } from './server-action.ts'
import { SPOKEN, type StateBoundAction } from './server-state.ts'
import { createBackup, createImage } from './snapshot-server.ts'

/** All durable actions of servers, by a name of their own. */
export function serverActions(parts: ActionParts) {
  return {
    create: buildServer(parts),
    delete: deleteServer(parts),
    start: startServer(parts),
    stop: stopServer(parts),
    shutdown: shutdownServer(parts),
    reboot: rebootServer(parts),
    attachInterface: attachInterface(parts),
    detachInterface: detachInterface(parts),
    attachVolume: attachVolume(parts),
    detachVolume: detachVolume(parts),
    createImage: createImage(parts),
    createBackup: createBackup(parts),
    changePassword: changePassword(parts),
    attachKeypairs: attachKeypairs(parts),
    detachKeypairs: detachKeypairs(parts),
    tellKeypairs: tellKeypairs(parts),
  }
}
export type ServerActions = ReturnType<typeof serverActions>

const KeyNames = Type.Object({
  key_names: Type.Array(Type.String({ minLength: 1, maxLength: 255 }), { minItems: 1, maxItems: 100 }),
})
const acceptLate = () => import('./accept-guest-changes.ts')

export const ACTION_TABLE: Record<string, ActionRow> = {
  reboot: row<TSchema, { type: string }>(
    Type.Object({
      type: Type.String({ pattern: '^([Hh][Aa][Rr][Dd]|[Ss][Oo][Ff][Tt])$', description: 'HARD or SOFT' }),
    }),
    'servers:action',
    202,
    async (call) => {
      const type = call.body.type.toUpperCase() as 'SOFT' | 'HARD'
      const [action, taskState] =
        type === 'HARD' ? (['hardReboot', 'rebooting_hard'] as const) : (['softReboot', 'rebooting'] as const)
      await acceptServerAction(call, action, taskState, call.cloud.actions.reboot, { type })
    },
  ),
  'os-start': row(Type.Unknown(), 'servers:action', 202, (call) =>
    acceptServerAction(call, 'start', 'powering-on', call.cloud.actions.start, null),
  ),
  'os-stop': row(Type.Unknown(), 'servers:action', 202, (call) =>
    acceptServerAction(call, 'stop', 'powering-off', call.cloud.actions.stop, null),
  ),
  'os-shutdown': row(Type.Unknown(), 'servers:action', 202, (call) =>
    acceptServerAction(call, 'shutdown', 'powering-off', call.cloud.actions.shutdown, null),
  ),
  ...CONSOLE_ROWS,
  volumeAttachment: row<TSchema, AttachWish>(AttachVolumeBody, 'servers:action', 202, attachVolumeByAction),
  changePassword: row<TSchema, { adminPass: string }>(
    Type.Object({ adminPass: Type.String({ minLength: 1, maxLength: 255 }) }),
    'servers:action',
    202,
    async (call) => (await acceptLate()).acceptChangePassword(call),
  ),
  attachKeypairs: row<TSchema, { key_names: string[] }>(KeyNames, 'servers:action', 202, async (call) =>
    (await acceptLate()).acceptAttachKeypairs(call),
  ),
  detachKeypairs: row<TSchema, { key_names: string[] }>(KeyNames, 'servers:action', 202, async (call) =>
    (await acceptLate()).acceptDetachKeypairs(call),
  ),
  ...IMAGE_ROWS,
  ...FIXED_IP_ROWS,
  ...FLOATING_IP_ROWS,
  ...SECURITY_GROUP_ROWS,
}

/** @throws ApiError itemNotFound; conflictingRequest for the wrong state, a lock, or an action under way. */
async function acceptServerAction<Input>(
  { cloud, caller, serverId }: ActionCall<unknown>,
  name: StateBoundAction,
  taskState: TaskState,
  action: AnyAction,
  input: Input,
): Promise<void> {
  await afterDeviceChanges(cloud, serverId, SPOKEN[name], () =>
    cloud.db.transaction((tx) => openAction(cloud, tx, caller, serverId, { name, taskState, action, input })),
  )
}

/** S20 under another path (I-01). */
async function attachVolumeByAction({ cloud, caller, serverId, body, once }: ActionCall<AttachWish>) {
  return afterDeviceChanges(cloud, serverId, SPOKEN.attachVolume, () =>
    once(async (tx) => ({
      volumeAttachment: attachmentView(await acceptAttachVolume(cloud, tx, caller, serverId, body)),
    })),
  )
}
