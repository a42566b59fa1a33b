/**
 * Projects that an image is shared with. The owner says who is one, the member whether it wants it; nobody else learns
 * who else is one. Source: Glance's glance/api/v2/image_members.py and its default policy.
 */
import type { Cloud } from '../cloud.ts'
import type { Reader } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { ApiError } from '../http/api-error.ts'
import { getImage, getOwnImage, type Image, type ImageViewer, lockOwnImage, mayChange } from './image-store.ts'

export type ImageMember = Row<'imageMembers'>

/** Glance's own limit. */
const MOST_MEMBERS = 128

/**
 * All members for the owner, oldest first; for a member itself alone.
 * @throws ApiError itemNotFound; forbidden for an image that is not shared with single projects.
 */
export async function listMembers(read: Reader, viewer: ImageViewer, imageId: string): Promise<ImageMember[]> {
  const image = await getImage(read, viewer, imageId)
  demandShared(image)
  const members = await read
    .selectFrom('imageMembers')
    .selectAll()
    .where('imageId', '=', imageId)
    .orderBy('createdAt')
    .orderBy('memberId')
    .execute()
  return mayChange(viewer, image) ? members : members.filter(({ memberId }) => memberId === viewer.projectId)
}

/** @throws ApiError itemNotFound also for a member that the caller may not know of. */
export async function getMember(
  read: Reader,
  viewer: ImageViewer,
  imageId: string,
  memberId: string,
): Promise<ImageMember> {
  const image = await getImage(read, viewer, imageId)
  const member = await read
    .selectFrom('imageMembers')
    .selectAll()
    .where('imageId', '=', imageId)
    .where('memberId', '=', memberId)
    .executeTakeFirst()
  const isKnown = mayChange(viewer, image) || memberId === viewer.projectId
  if (!member || !isKnown) throw new ApiError('itemNotFound', `${memberId} is no member of image ${imageId}.`)
  return member
}

/** @throws ApiError conflictingRequest for one that is a member already; overLimit for too many. */
export async function addMember(
  { db, clock }: Pick<Cloud, 'db' | 'clock'>,
  viewer: ImageViewer,
  imageId: string,
  memberId: string,
): Promise<ImageMember> {
  return db.transaction(async (tx) => {
    demandShared(await lockOwnImage(tx, viewer, imageId))
    const members = await tx.selectFrom('imageMembers').select('memberId').where('imageId', '=', imageId).execute()
    if (members.some((one) => one.memberId === memberId)) {
      throw new ApiError('conflictingRequest', `Project ${memberId} is a member of image ${imageId} already.`)
    }
    if (members.length >= MOST_MEMBERS) {
      throw new ApiError('overLimit', `An image has at most ${MOST_MEMBERS} members.`)
    }
    const now = clock.now()
    return tx
      .insertInto('imageMembers')
      .values({ imageId, memberId, status: 'pending', createdAt: now, updatedAt: now })
      .returningAll()
      .executeTakeFirstOrThrow()
  })
}

/** @throws ApiError forbidden unless the caller is the member, or an admin; the owner is not asked. */
export async function setMemberStatus(
  { db, clock }: Pick<Cloud, 'db' | 'clock'>,
  viewer: ImageViewer,
  imageId: string,
  memberId: string,
  status: ImageMember['status'],
): Promise<ImageMember> {
  return db.transaction(async (tx) => {
    await getMember(tx, viewer, imageId, memberId)
    demandShared(await getImage(tx, viewer, imageId))
    if (memberId !== viewer.projectId && !viewer.isAdmin) {
      throw new ApiError('forbidden', `Only ${memberId} itself accepts or rejects the image.`)
    }
    return tx
      .updateTable('imageMembers')
      .set({ status, updatedAt: clock.now() })
      .where('imageId', '=', imageId)
      .where('memberId', '=', memberId)
      .returningAll()
      .executeTakeFirstOrThrow()
  })
}

/** @throws ApiError itemNotFound for one that is no member. */
export async function removeMember(
  { db }: Pick<Cloud, 'db'>,
  viewer: ImageViewer,
  imageId: string,
  memberId: string,
): Promise<void> {
  await db.transaction(async (tx) => {
    demandShared(await getOwnImage(tx, viewer, imageId))
    await getMember(tx, viewer, imageId, memberId)
    await tx.deleteFrom('imageMembers').where('imageId', '=', imageId).where('memberId', '=', memberId).execute()
  })
}

function demandShared({ visibility }: Image): void {
  if (visibility === 'shared') return
  throw new ApiError('forbidden', `Only images of visibility shared have members; this one is ${visibility}.`)
}
