/** Creating and changing rows of images, as users ask for it. */
import type { Cloud } from '../cloud.ts'
import type { Tx } from '../db/database.ts'
import { ApiError } from '../http/api-error.ts'
import { type Caller, enforce } from '../http/policy.ts'
import { newId } from '../lib/ids.ts'
import {
  demandConsistent,
  MOST_TAGS,
  newWrittenImage,
  readTag,
  type WrittenImage,
  writeMember,
} from './image-attributes.ts'
import { applyPatch, type ImageChange } from './image-patch.ts'
import { assertImageCount } from './image-quotas.ts'
import { type Image, lockOwnImage, NO_BYTES } from './image-store.ts'
import { isBeingMade } from './image-writer.ts'

/** As Glance takes ids from clients; in lower case, since it names files. */
const ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

/**
 * Writes the row of a new image, `queued`: it waits for its bytes.
 * @param body the members as the caller gave them.
 * @throws ApiError badRequest, forbidden for members that cannot or must not be written; conflictingRequest for an id
 *   that is taken; overLimit when the project has as many images as it may.
 */
export async function createImage(
  cloud: Cloud,
  tx: Tx,
  caller: Caller,
  body: Readonly<Record<string, unknown>>,
): Promise<Image> {
  const { id: wishedId, ...members } = body
  const id = wishedId === undefined ? newId() : readId(wishedId)
  const image = newWrittenImage(caller.projectId)
  for (const [name, value] of Object.entries(members)) writeMember(image, name, value)
  demandConsistent(image)
  demandRights(caller, newWrittenImage(caller.projectId), image)
  await assertImageCount(cloud, tx, caller.projectId)
  if (await tx.selectFrom('images').select('id').where('id', '=', id).executeTakeFirst()) throw taken(id)
  if (wishedId !== undefined && (await wasDeleted(tx, id))) throw taken(id)
  const now = cloud.clock.now()
  try {
    return await tx
      .insertInto('images')
      .values({
        id,
        ...toColumns(image),
        status: 'queued',
        ...NO_BYTES,
        verdict: null,
        createdAt: now,
        updatedAt: now,
      })
      .returningAll()
      .executeTakeFirstOrThrow()
  } catch (error) {
    throw cloud.db.isDuplicate(error) ? taken(id) : error
  }
}

/** Disks may still lean on an image that was deleted, and its bytes on a host that does not answer go later. */
async function wasDeleted(tx: Tx, id: string): Promise<boolean> {
  const action = await tx
    .selectFrom('actions')
    .select('id')
    .where('resourceId', '=', id)
    .where('name', '=', 'deleteImage')
    .executeTakeFirst()
  return action !== undefined
}

const taken = (id: string): ApiError => new ApiError('conflictingRequest', `Image ID ${id} already exists!`)

function readId(id: unknown): string {
  if (typeof id !== 'string' || !ID.test(id)) throw new ApiError('badRequest', "'id' must be a UUID with dashes.")
  return id.toLowerCase()
}

/**
 * Makes all changes of a patch, or none.
 * @throws ApiError as `applyPatch`; itemNotFound, forbidden.
 */
export async function patchImage(
  cloud: Cloud,
  caller: Caller,
  imageId: string,
  changes: readonly ImageChange[],
): Promise<Image> {
  return cloud.db.transaction(async (tx) => {
    const image = await lockOwnImage(tx, caller, imageId)
    const before = fromColumns(image)
    const after = applyPatch(before, changes)
    demandRights(caller, before, after)
    const isReformatted = after.diskFormat !== before.diskFormat || after.containerFormat !== before.containerFormat
    if (isReformatted && (image.status !== 'queued' || (await isBeingMade(tx, imageId)))) {
      throw new ApiError('forbidden', 'disk_format and container_format can be changed only of a queued image.')
    }
    if (changes.length === 0) return image
    return tx
      .updateTable('images')
      .set({ ...toColumns(after), updatedAt: cloud.clock.now() })
      .where('id', '=', imageId)
      .returningAll()
      .executeTakeFirstOrThrow()
  })
}

/** Adds or removes one tag. @throws ApiError itemNotFound when there is none to remove; overLimit for too many. */
export async function changeTag(
  cloud: Cloud,
  caller: Caller,
  imageId: string,
  tag: string,
  isWanted: boolean,
): Promise<void> {
  readTag(tag)
  await cloud.db.transaction(async (tx) => {
    const image = await lockOwnImage(tx, caller, imageId)
    const tags: string[] = JSON.parse(image.tags)
    const isThere = tags.includes(tag)
    if (!isWanted && !isThere) throw new ApiError('itemNotFound', `Image ${imageId} has no tag '${tag}'.`)
    if (isWanted === isThere) return
    if (isWanted && tags.length >= MOST_TAGS) {
      throw new ApiError('overLimit', `An image has at most ${MOST_TAGS} tags.`)
    }
    const changed = isWanted ? [...tags, tag] : tags.filter((one) => one !== tag)
    await tx
      .updateTable('images')
      .set({ tags: JSON.stringify(changed), updatedAt: cloud.clock.now() })
      .where('id', '=', imageId)
      .execute()
  })
}

/**
 * Lets nobody but admins download an image, or lets all again. Doing it again changes nothing.
 * @throws ApiError itemNotFound; forbidden for another project's, or one that has no bytes.
 */
export async function setDeactivated(cloud: Cloud, caller: Caller, imageId: string, isOff: boolean): Promise<void> {
  await cloud.db.transaction(async (tx) => {
    const { status } = await lockOwnImage(tx, caller, imageId)
    if (status !== 'active' && status !== 'deactivated') {
      throw new ApiError('forbidden', `An image that is ${status} can be neither deactivated nor reactivated.`)
    }
    await tx
      .updateTable('images')
      .set({ status: isOff ? 'deactivated' : 'active', updatedAt: cloud.clock.now() })
      .where('id', '=', imageId)
      .execute()
  })
}

/** What only admins may do with an image that they may change. Source: Glance's default policy. */
function demandRights({ roles, projectId, isAdmin }: Caller, before: WrittenImage, after: WrittenImage): void {
  if (after.visibility === 'public' && before.visibility !== 'public') enforce('images:publish', roles, projectId)
  if (after.owner !== before.owner && !isAdmin) {
    throw new ApiError('forbidden', 'You are not permitted to give an image another owner.')
  }
}

const toColumns = ({ owner, isProtected, isHidden, tags, properties, ...rest }: WrittenImage) => ({
  ...rest,
  projectId: owner,
  isProtected: isProtected ? (1 as const) : (0 as const),
  isHidden: isHidden ? (1 as const) : (0 as const),
  tags: JSON.stringify(tags),
  properties: JSON.stringify(properties),
})

const fromColumns = (image: Image): WrittenImage => ({
  name: image.name,
  visibility: image.visibility,
  diskFormat: image.diskFormat,
  containerFormat: image.containerFormat,
  minDiskGib: image.minDiskGib,
  minRamMib: image.minRamMib,
  isProtected: image.isProtected === 1,
  isHidden: image.isHidden === 1,
  owner: image.projectId,
  tags: JSON.parse(image.tags),
  properties: JSON.parse(image.properties),
})
