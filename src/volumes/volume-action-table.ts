/** What `POST …/volumes/{id}/action` takes: one row each. Source: shared/spec/neighbours.md §5, "Actions". */
import { Type } from 'typebox'
import type { Tx } from '../db/database.ts'
import type { VolumeStatus } from '../db/volume-schema.ts'
import { ApiError } from '../http/api-error.ts'
import { demandRoomToGrow } from './create-volume.ts'
import { acceptDeleteVolume } from './delete-volume.ts'
import { assertMetadataQuota, getUsableImage, imageMetadataOf, leastGibOf } from './new-volume.ts'
import { findSnapshot, listSnapshotsOf } from './snapshot-store.ts'
import { UploadWish, uploadToImage } from './upload-to-image.ts'
import { demandNoAction, openAction, restingStatus } from './volume-action.ts'
import { demandStatus, row, type VolumeActionCall, type VolumeActionRow } from './volume-action-row.ts'
import { demandVersion } from './volume-api.ts'
import { assertVolumeQuota, assertVolumeSize } from './volume-quotas.ts'
import { Flag, isTrue, Metadata, Size } from './volume-schema.ts'
import { updateVolume, type Volume } from './volume-store.ts'
import { findType, readTypeNames } from './volume-type-store.ts'

/** What may stand under an action that needs no word more. */
const Nothing = Type.Unknown()
const Text = Type.String({ minLength: 1, maxLength: 255 })

const STATUSES = [
  ...['creating', 'available', 'reserved', 'attaching', 'in-use', 'detaching', 'deleting', 'error', 'error_deleting'],
  ...['error_extending', 'extending', 'downloading', 'uploading', 'retyping', 'reverting', 'maintenance'],
] as VolumeStatus[]

export const VOLUME_ACTIONS: Record<string, VolumeActionRow> = {
  'os-extend': row(Type.Object({ new_size: Size }), {}, async (call) => {
    const { cloud, tx, volume, wish, caller, now, version } = call
    const newSizeGib = Number(wish.new_size)
    if (version < 42) demandStatus(volume, ['available'], 'extend')
    demandStatus(volume, ['available', 'in-use'], 'extend')
    if (newSizeGib <= volume.sizeGib) {
      throw new ApiError(
        'badRequest',
        `The new size of volume ${volume.id} must be larger than ${volume.sizeGib} GiB, not ${newSizeGib} GiB.`,
      )
    }
    if (volume.status === 'in-use' && (await isHeldReadOnly(tx, volume))) {
      throw new ApiError('badRequest', `Volume ${volume.id} is read-only in its server; detach it to extend it.`)
    }
    const typeName = (await readTypeNames(tx)).get(volume.typeId) ?? ''
    await assertVolumeSize(cloud, tx, volume.projectId, newSizeGib)
    await assertVolumeQuota(cloud, tx, volume.projectId, { gigabytes: newSizeGib - volume.sizeGib, typeName })
    await demandRoomToGrow(cloud, tx, volume, newSizeGib - volume.sizeGib)
    await updateVolume(tx, volume.id, { status: 'extending', statusBefore: volume.status }, now)
    await openAction(cloud, tx, cloud.actions.extendVolume, volume.id, { newSizeGib }, caller)
  }),

  'os-set_bootable': row(Type.Object({ bootable: Flag }), { status: 200 }, async ({ tx, volume, wish, now }) => {
    await updateVolume(tx, volume.id, { isBootable: isTrue(wish.bootable) ? 1 : 0 }, now)
  }),

  'os-update_readonly_flag': row(Type.Object({ readonly: Flag }), {}, async ({ tx, volume, wish, now }) => {
    demandStatus(volume, ['available'], 'change the readonly flag of')
    const isReadOnly = isTrue(wish.readonly)
    const metadata = { ...JSON.parse(volume.metadata), readonly: isReadOnly ? 'True' : 'False' }
    await updateVolume(tx, volume.id, { isReadOnly: isReadOnly ? 1 : 0, metadata: JSON.stringify(metadata) }, now)
  }),

  'os-set_image_metadata': row(Type.Object({ metadata: Metadata }), { status: 200 }, async (call) => {
    const before = imageMetadata(call)
    const metadata = { ...before, ...call.wish.metadata }
    // What came with an image may be more.
    if (Object.keys(metadata).length > Object.keys(before).length) assertMetadataQuota(call.cloud, metadata)
    await updateVolume(call.tx, call.volume.id, { imageMetadata: JSON.stringify(metadata) }, call.now)
    return { metadata }
  }),

  'os-unset_image_metadata': row(Type.Object({ key: Text }), { status: 200 }, async (call) => {
    const { [call.wish.key]: gone, ...rest } = imageMetadata(call)
    if (gone === undefined) throw new ApiError('itemNotFound', `There is no image metadata item ${call.wish.key}.`)
    const imageMetadataText = Object.keys(rest).length === 0 ? null : JSON.stringify(rest)
    await updateVolume(call.tx, call.volume.id, { imageMetadata: imageMetadataText }, call.now)
  }),

  'os-show_image_metadata': row(Nothing, { status: 200 }, async (call) => ({ metadata: imageMetadata(call) })),

  'os-volume_upload_image': row(UploadWish, {}, uploadToImage),

  'os-retype': row(
    Type.Object({
      new_type: Text,
      migration_policy: Type.Optional(Type.Union([Type.Literal('never'), Type.Literal('on-demand'), Type.Null()])),
    }),
    {},
    async ({ cloud, tx, volume, wish, caller, now }) => {
      demandStatus(volume, ['available', 'in-use'], 'retype')
      const type = await findType(tx, caller, wish.new_type)
      if (!type) throw new ApiError('itemNotFound', `Volume type ${wish.new_type} could not be found.`)
      if (type.id === volume.typeId) {
        throw new ApiError('badRequest', `Volume ${volume.id} is of type ${type.name} already.`)
      }
      // All types lie on the same disks, so there is nothing to move; only limits of the type itself can speak against it.
      const demand = { volumes: 1, gigabytes: volume.sizeGib, typeName: type.name }
      await assertVolumeQuota(cloud, tx, volume.projectId, demand, { isOnlyOfType: true })
      await updateVolume(tx, volume.id, { typeId: type.id }, now)
    },
  ),

  'os-reset_status': row(
    Type.Object({
      status: Type.Optional(Type.Union([Type.Null(), Text])),
      attach_status: Type.Optional(Type.Unknown()),
      migration_status: Type.Optional(Type.Unknown()),
    }),
    { isForAdmins: true },
    async ({ tx, volume, wish, now }) => {
      if (wish.status === undefined || wish.status === null) return
      const status = STATUSES.find((one) => one === wish.status)
      if (!status) throw new ApiError('badRequest', `status must be one of ${STATUSES.join(', ')}.`)
      const resting = await restingStatus(tx, volume.id)
      // Whether somebody has it is not for this to say.
      if ((status === 'available' && resting !== 'available') || (status === 'in-use' && resting !== 'in-use')) {
        throw new ApiError('badRequest', `Volume ${volume.id} cannot be ${status}: its attachments say ${resting}.`)
      }
      if (status === resting) await demandNoAction(tx, volume.id)
      await tx.deleteFrom('volumeTransfers').where('volumeId', '=', volume.id).execute()
      await updateVolume(tx, volume.id, { status, statusBefore: null }, now)
    },
  ),

  'os-force_delete': row(Nothing, { isForAdmins: true }, async ({ cloud, tx, volume, caller }) =>
    acceptDeleteVolume(cloud, tx, caller, volume.id, { isCascade: false, isForced: true }),
  ),

  revert: row(Type.Object({ snapshot_id: Text }), { since: 40 }, async ({ cloud, tx, volume, wish, caller, now }) => {
    demandStatus(volume, ['available'], 'revert')
    const snapshot = await findSnapshot(tx, caller, wish.snapshot_id)
    if (!snapshot) throw new ApiError('itemNotFound', `Snapshot ${wish.snapshot_id} could not be found.`)
    const latest = (await listSnapshotsOf(tx, volume.id)).at(-1)
    if (snapshot.id !== latest?.id) {
      throw new ApiError('badRequest', `Snapshot ${snapshot.id} is not the latest one of volume ${volume.id}.`)
    }
    if (snapshot.status !== 'available') {
      throw new ApiError('badRequest', `Snapshot ${snapshot.id} must be available; it is ${snapshot.status}.`)
    }
    await updateVolume(tx, volume.id, { status: 'reverting' }, now)
    const input = { source: { kind: 'snapshot', snapshotId: snapshot.id } as const, change: {} }
    await openAction(cloud, tx, cloud.actions.revertVolume, volume.id, input, caller)
  }),

  'os-reimage': row(
    Type.Object({ image_id: Text, reimage_reserved: Type.Optional(Flag) }),
    { since: 68 },
    async ({ cloud, tx, volume, wish, caller, now }) => {
      demandStatus(volume, ['available', 'error'], 'reimage')
      if (volume.hostName === null) throw new ApiError('badRequest', `Volume ${volume.id} was never made.`)
      const image = await getUsableImage(tx, caller, wish.image_id)
      if (leastGibOf(image) > volume.sizeGib) {
        throw new ApiError(
          'badRequest',
          `Volume ${volume.id} is too small for the image: ${volume.sizeGib} GiB < ${leastGibOf(image)} GiB.`,
        )
      }
      await updateVolume(tx, volume.id, { status: 'downloading' }, now)
      const change = { isBootable: 1, imageId: image.id, imageMetadata: imageMetadataOf(image) } as const
      const input = { source: { kind: 'image', imageId: image.id } as const, change }
      await openAction(cloud, tx, cloud.actions.reimageVolume, volume.id, input, caller)
    },
  ),

  'os-reserve': row(Nothing, {}, async (call) => {
    await refuseAttached(call)
    demandStatus(call.volume, ['available'], 'reserve')
    await updateVolume(call.tx, call.volume.id, { status: 'attaching' }, call.now)
  }),
  'os-unreserve': row(Nothing, {}, async (call) => {
    await refuseAttached(call)
    demandStatus(call.volume, ['attaching', 'reserved'], 'unreserve')
    await updateVolume(call.tx, call.volume.id, { status: 'available' }, call.now)
  }),
  ...Object.fromEntries(
    [
      ...['os-begin_detaching', 'os-roll_detaching', 'os-attach', 'os-detach', 'os-force_detach'],
      ...['os-initialize_connection', 'os-terminate_connection'],
    ].map((name) => [name, row(Nothing, {}, refuseByHand)]),
  ),
}

/** Whether a server has it so that nothing can be written: CDs are, whatever the volume is. */
async function isHeldReadOnly(tx: Tx, { id }: Volume): Promise<boolean> {
  const devices = await tx.selectFrom('blockDevices').select('isReadOnly').where('volumeId', '=', id).execute()
  return devices.some(({ isReadOnly }) => isReadOnly === 1)
}

const imageMetadata = ({ volume }: VolumeActionCall<unknown>): Record<string, string> =>
  volume.imageMetadata === null ? {} : JSON.parse(volume.imageMetadata)

/** What compute says to the volume service elsewhere, it does inside here; nobody else may say it of its volumes. */
async function refuseAttached({ tx, volume }: VolumeActionCall): Promise<void> {
  const resting = await restingStatus(tx, volume.id)
  if (resting === 'available') return
  throw new ApiError(
    'conflictingRequest',
    `Volume ${volume.id} is attached to a server (${resting}). Attach and detach by the compute service.`,
  )
}

async function refuseByHand(call: VolumeActionCall): Promise<void> {
  await refuseAttached(call)
  throw new ApiError(
    'badRequest',
    `Volume ${call.volume.id} is not attached. Attach it by the compute service: POST …/servers/{id}/os-volume_attachments.`,
  )
}

/**
 * The row of an action, for this caller.
 * @throws ApiError badRequest for one that there is not; itemNotFound when it came later; forbidden.
 */
export function readActionRow(call: { version: number; caller: { isAdmin: boolean } }, name: string): VolumeActionRow {
  const action = Object.hasOwn(VOLUME_ACTIONS, name) ? VOLUME_ACTIONS[name] : undefined
  if (!action) throw new ApiError('badRequest', `There is no such action: ${name}.`)
  demandVersion(call, action.since)
  if (action.isForAdmins && !call.caller.isAdmin) {
    throw new ApiError('forbidden', `Policy doesn't allow ${name} with these roles; it needs admin.`)
  }
  return action
}
