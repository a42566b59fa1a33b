/** `createImage` (S12) and `createBackup`: what they take, and the rows they begin with. */
import { type TSchema, Type } from 'typebox'
import type { Cloud } from '../cloud.ts'
import type { Tx } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { ApiError } from '../http/api-error.ts'
import type { Caller } from '../http/policy.ts'
import { assertImageBytes, assertImageCount } from '../images/image-quotas.ts'
import { insertSnapshotImage } from '../images/image-writer.ts'
import { newId } from '../lib/ids.ts'
import { type ActionCall, type ActionRow, row } from './action-row.ts'
import { listBlockDevices } from './block-device-store.ts'
import { asComputeVolumeError } from './compute-errors.ts'
import { afterDeviceChanges } from './device-changes.ts'
import { MAPPING_PROPERTIES, withoutMapping } from './device-mapping.ts'
import { openAction } from './open-action.ts'
import { rootDeviceOf } from './server-disks.ts'
import { assertMetadataQuota } from './server-metadata.ts'
import { Metadata, Name } from './server-schema.ts'
import { SPOKEN } from './server-state.ts'
import type { SnapshotInput } from './unfinished-images.ts'

interface ImageBody {
  name: string
  metadata?: Record<string, string> | null
}

interface BackupBody extends ImageBody {
  backup_type: string
  rotation: number | string
}

const Image = { name: Name, metadata: Type.Optional(Type.Union([Metadata, Type.Null()])) }

export const IMAGE_ROWS: Record<'createImage' | 'createBackup', ActionRow> = {
  createImage: row<TSchema, ImageBody>(Type.Object(Image), 'servers:action', 202, (call) =>
    makeImage(call, 'createImage', { image_type: 'snapshot' }, null),
  ),
  createBackup: row<TSchema, BackupBody>(
    Type.Object({
      ...Image,
      backup_type: Type.String({ minLength: 1, maxLength: 255, pattern: '^[^\\u0000-\\u001f\\u007f]*$' }),
      rotation: Type.Union([Type.Integer({ minimum: 0, maximum: 100_000 }), Type.String({ pattern: '^[0-9]{1,5}$' })]),
    }),
    'servers:action',
    202,
    (call) => {
      const { backup_type: type, rotation } = call.body
      const properties = { image_type: 'backup', backup_type: type }
      return makeImage(call, 'createBackup', properties, { type, keep: Number(rotation) })
    },
  ),
}

/**
 * Accepts an image of a server: writes its row, `queued`, and opens the action.
 * @returns its id, which also stands in the answer's Location; nothing for a backup of which none is kept.
 * @throws ApiError itemNotFound; conflictingRequest for the state; forbidden for quota; badRequest for a backup of a server that boots from a volume.
 */
async function makeImage(
  { cloud, caller, serverId, body, links, once, setHeader }: ActionCall<ImageBody>,
  name: 'createImage' | 'createBackup',
  kind: Record<string, string>,
  rotation: SnapshotInput['rotation'],
): Promise<unknown> {
  const metadata = body.metadata ?? {}
  assertMetadataQuota(cloud, metadata)
  const reserved = Object.keys(metadata).find((key) => MAPPING_PROPERTIES.includes(key))
  if (reserved !== undefined) {
    throw new ApiError('badRequest', `metadata cannot have '${reserved}': it says which disks an image brings.`)
  }
  return afterDeviceChanges(cloud, serverId, SPOKEN[name], () =>
    once(async (tx) => {
      const imageId = newId()
      const server = await openAction<SnapshotInput>(cloud, tx, caller, serverId, {
        name,
        taskState: 'image_snapshot_pending',
        action: cloud.actions[name],
        input: { imageId, rotation },
      })
      if (rotation && server.imageId === '') {
        throw new ApiError('badRequest', `Instance ${serverId} boots from a volume: make snapshots of that.`)
      }
      await assertImageQuota(cloud, tx, server.projectId, name)
      const imageName = body.name.trim()
      const mapping = server.imageId === '' ? await snapshotVolumes(cloud, tx, caller, server, imageId, imageName) : {}
      await insertSnapshotImage(tx, {
        id: imageId,
        projectId: server.projectId,
        name: imageName,
        diskFormat: 'qcow2',
        containerFormat: 'bare',
        visibility: 'private',
        properties: { ...inherited(server), ...metadata, ...ownProperties(server, caller), ...kind, ...mapping },
        ...(await leastMachine(tx, server)),
        now: cloud.clock.now(),
      })
      if (rotation?.keep === 0) return {}
      setHeader('location', `${links.base}/v2/images/${imageId}`)
      return { image_id: imageId }
    }),
  )
}

/** What says where an image came from. */
const ownProperties = (server: Row<'servers'>, caller: Caller): Record<string, string> => ({
  instance_uuid: server.id,
  ...(server.imageId === '' ? {} : { base_image_ref: server.imageId }),
  user_id: caller.userId,
  owner_id: server.projectId,
  image_location: 'snapshot',
})

/** What its own image says about the machine holds for this one too, but what that one was of. */
function inherited({ imageProperties }: Row<'servers'>): Record<string, string> {
  const { backup_type: _, image_type: __, ...properties } = JSON.parse(imageProperties) as Record<string, string>
  return withoutMapping(properties)
}

/** What boots from a volume is kept as snapshots of all its volumes; the image has no bytes. */
async function snapshotVolumes(
  cloud: Cloud,
  tx: Tx,
  caller: Caller,
  server: Row<'servers'>,
  imageId: string,
  name: string,
): Promise<Record<string, string>> {
  const { acceptVolumeSnapshots } = await import('./snapshot-volumes.ts')
  return acceptVolumeSnapshots(cloud, tx, caller, server, { imageId, name })
}

/** The disk is as large as the server's; memory is what its own image asked for, if that is there still. */
async function leastMachine(tx: Tx, server: Row<'servers'>): Promise<{ minDiskGib: number; minRamMib: number }> {
  const volumeId = rootDeviceOf(server, await listBlockDevices(tx, server.id))?.volumeId
  if (volumeId) {
    const { sizeGib } = await tx
      .selectFrom('volumes')
      .select('sizeGib')
      .where('id', '=', volumeId)
      .executeTakeFirstOrThrow()
    return { minDiskGib: sizeGib, minRamMib: 0 }
  }
  const image = await tx.selectFrom('images').select('minRamMib').where('id', '=', server.imageId).executeTakeFirst()
  return { minDiskGib: server.diskGib, minRamMib: image?.minRamMib ?? 0 }
}

/** Images of servers count as others do. @throws ApiError forbidden, as compute tells of quotas. */
async function assertImageQuota(cloud: Cloud, tx: Tx, projectId: string, name: string): Promise<void> {
  try {
    await assertImageCount(cloud, tx, projectId)
    await assertImageBytes(cloud, tx, projectId, 0)
  } catch (error) {
    throw asComputeVolumeError(error, name)
  }
}
