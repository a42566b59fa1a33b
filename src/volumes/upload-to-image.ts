import { type Static, Type } from 'typebox'
import { ApiError } from '../http/api-error.ts'
import { timestampB } from '../http/timestamps.ts'
import { assertImageBytes, assertImageCount } from '../images/image-quotas.ts'
import { insertSnapshotImage, setImageStatus } from '../images/image-writer.ts'
import { newId } from '../lib/ids.ts'
import { openAction } from './volume-action.ts'
import { demandStatus, type VolumeActionCall } from './volume-action-row.ts'
import { Flag, isTrue } from './volume-schema.ts'
import { updateVolume } from './volume-store.ts'
import { readTypeNames } from './volume-type-store.ts'

const Word = Type.Optional(Type.Union([Type.String({ maxLength: 255 }), Type.Null()]))

export const UploadWish = Type.Object({
  image_name: Type.String({ minLength: 1, maxLength: 255 }),
  force: Type.Optional(Type.Union([Flag, Type.Null()])),
  disk_format: Word,
  container_format: Word,
  visibility: Word,
  protected: Type.Optional(Type.Union([Flag, Type.Null()])),
})

/** Of the image the volume was made from: these are the new image's own. */
const NOT_INHERITED = [
  ...['image_id', 'image_name', 'checksum', 'container_format', 'disk_format', 'min_disk', 'min_ram', 'size'],
  ...['signature_verified', 'visibility', 'protected', 'os_hidden', 'os_hash_algo', 'os_hash_value', 'status', 'owner'],
]
const VISIBILITIES = ['private', 'shared', 'community', 'public'] as const

/**
 * `os-volume_upload_image`: accepts to make an image of the volume, in the format that is asked for.
 * @throws ApiError badRequest for what cannot be made; forbidden for a public image, but to admins; overLimit (quota).
 */
export async function uploadToImage(call: VolumeActionCall<Static<typeof UploadWish>>): Promise<unknown> {
  const { cloud, tx, volume, wish, caller, now } = call
  demandStatus(volume, isTrue(wish.force) ? ['available', 'in-use'] : ['available'], 'upload')
  const format = wish.disk_format ?? 'qcow2'
  if (format !== 'raw' && format !== 'qcow2') {
    throw new ApiError('badRequest', `disk_format must be qcow2 or raw, not '${format}'.`)
  }
  if (wish.container_format && wish.container_format !== 'bare') {
    throw new ApiError('badRequest', `container_format must be bare, not '${wish.container_format}'.`)
  }
  const visibility = readVisibility(call)
  const ofImage: Record<string, string> = volume.imageMetadata === null ? {} : JSON.parse(volume.imageMetadata)
  const properties = Object.fromEntries(Object.entries(ofImage).filter(([key]) => !NOT_INHERITED.includes(key)))
  await assertImageCount(cloud, tx, volume.projectId)
  await assertImageBytes(cloud, tx, volume.projectId, 0)
  const imageId = newId()
  const image = await insertSnapshotImage(tx, {
    id: imageId,
    projectId: volume.projectId,
    name: wish.image_name,
    diskFormat: 'qcow2',
    containerFormat: 'bare',
    visibility,
    properties,
    minDiskGib: volume.sizeGib,
    minRamMib: /^\d{1,9}$/.test(ofImage.min_ram ?? '') ? Number(ofImage.min_ram) : 0,
    now,
  })
  const isProtected = call.version >= 1 && isTrue(wish.protected)
  const change = { isProtected: isProtected ? 1 : 0, diskFormat: format } as const
  await tx.updateTable('images').set(change).where('id', '=', imageId).execute()
  await setImageStatus(tx, imageId, 'saving', now)
  await updateVolume(tx, volume.id, { status: 'uploading', statusBefore: volume.status }, now)
  await openAction(cloud, tx, cloud.actions.uploadVolume, volume.id, { imageId, format }, caller)
  return {
    'os-volume_upload_image': {
      id: volume.id,
      updated_at: timestampB(now),
      status: 'uploading',
      display_description: volume.description,
      size: volume.sizeGib,
      volume_type: { id: volume.typeId, name: (await readTypeNames(tx)).get(volume.typeId) ?? null },
      image_id: imageId,
      image_name: image.name,
      container_format: image.containerFormat,
      disk_format: format,
      ...(call.version >= 1 ? { visibility, protected: isProtected } : {}),
    },
  }
}

function readVisibility({ wish, caller, version }: VolumeActionCall<Static<typeof UploadWish>>) {
  if (version < 1 || !wish.visibility) return 'private'
  const visibility = VISIBILITIES.find((one) => one === wish.visibility)
  if (!visibility) throw new ApiError('badRequest', `visibility must be one of ${VISIBILITIES.join(', ')}.`)
  if (visibility === 'public' && !caller.isAdmin) {
    throw new ApiError('forbidden', 'Only an admin makes public images.')
  }
  return visibility
}
