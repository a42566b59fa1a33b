import type { Action } from '../actions/action.ts'
import { type Asker, acceptAction, supersedeAction } from '../actions/journal.ts'
import type { Cloud } from '../cloud.ts'
import type { Reader, Tx } from '../db/database.ts'
import { ApiError } from '../http/api-error.ts'
import type { Caller } from '../http/policy.ts'
import { hardwareOf } from './hardware-of.ts'
import { lockOwnImage, TINY_IMAGE_ID } from './image-store.ts'
import { removeImageBytes } from './image-writer.ts'

const DEADLINE_MS = 24 * 3_600_000

type DeleteImage = Action<null, 'removeBytes', { imageId: string }>

/**
 * Removes the bytes of an image whose row is gone: for users it is deleted at once, whatever becomes of a host that does
 * not answer now.
 */
export function deleteImage(parts: Pick<Cloud, 'config' | 'hosts'>): DeleteImage {
  return {
    name: 'deleteImage',
    first: 'removeBytes',
    deadlineMs: DEADLINE_MS,
    read: async (imageId) => ({ imageId }),
    steps: {
      async removeBytes({ imageId }) {
        await removeImageBytes(parts, imageId)
        return { done: true }
      },
    },
    // What stays is found by novella doctor.
    failed: () => ({ done: true }),
  }
}

/**
 * Deletes an image. Servers and volumes made from it keep their disks; a kernel or RAM disk is read at each boot, and
 * stays as long as a server needs it.
 * @throws ApiError itemNotFound; forbidden for another project's, a protected one, or the cloud's own;
 *   conflictingRequest for what servers boot with.
 */
export async function acceptDeleteImage(cloud: Cloud, caller: Caller, imageId: string): Promise<void> {
  await cloud.db.transaction(async (tx) => {
    const image = await lockOwnImage(tx, caller, imageId)
    if (image.isProtected === 1) {
      throw new ApiError('forbidden', `Image ${imageId} is protected and cannot be deleted.`)
    }
    if (imageId === TINY_IMAGE_ID) {
      throw new ApiError(
        'forbidden',
        'The built-in image cannot be deleted; it would be back at the next start. Hide it.',
      )
    }
    const count = await countServersBootedWith(tx, imageId)
    if (count > 0) {
      throw new ApiError(
        'conflictingRequest',
        `Image ${imageId} could not be deleted because it is in use: ${count} ` +
          `${count === 1 ? 'server boots' : 'servers boot'} with this kernel or RAM disk. Delete them first.`,
      )
    }
    await deleteImageRow(tx, cloud.actions.deleteImage, imageId, caller, cloud.clock.now())
    tx.onCommit(() => cloud.runner.nudge())
  })
  await cloud.imageUploads.abort(imageId)
}

/** How many servers have an image as their kernel or RAM disk. */
async function countServersBootedWith(read: Reader, imageId: string): Promise<number> {
  // The database finds the few that may; what their properties come to is said in one place.
  const servers = await read
    .selectFrom('servers')
    .select('imageProperties')
    .where('deletedAt', 'is', null)
    .where('imageProperties', 'like', `%${imageId}%`)
    .execute()
  return servers.filter(({ imageProperties }) => {
    const { kernel } = hardwareOf(JSON.parse(imageProperties))
    return kernel?.kernelImageId === imageId || kernel?.ramdiskImageId === imageId
  }).length
}

/** Takes an image's row away and has its bytes removed: never a row without bytes, nor bytes that nobody removes. */
export async function deleteImageRow(
  tx: Tx,
  action: DeleteImage,
  imageId: string,
  asker: Asker,
  now: number,
): Promise<void> {
  await tx.deleteFrom('images').where('id', '=', imageId).execute()
  await supersedeAction(tx, imageId, now)
  await acceptAction(tx, action, imageId, null, asker, now)
}
