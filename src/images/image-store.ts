import { sql } from 'kysely'
import type { Reader, Tx } from '../db/database.ts'
import { comesAfter, inOrder } from '../db/keyset.ts'
import type { Row } from '../db/schema.ts'
import { ApiError } from '../http/api-error.ts'
import type { ImageCondition, ImageQuery, MemberScope } from './image-query.ts'

export type Image = Row<'images'>

/** What is known of an image's bytes before there are any. */
export const NO_BYTES = {
  sizeBytes: null,
  virtualSizeBytes: null,
  checksum: null,
  hashAlgorithm: null,
  hashValue: null,
} as const

/** The property of an image that says which disks it brings, as JSON. */
export const IMAGE_MAPPING = 'block_device_mapping'

/** Whether an image has no bytes of its own, but names snapshots that disks are made from. */
export const isOfSnapshots = ({ sizeBytes, properties }: Pick<Image, 'sizeBytes' | 'properties'>): boolean =>
  sizeBytes === 0 && properties.includes(`"${IMAGE_MAPPING}"`)

/** Who looks; admins see all. */
export interface ImageViewer {
  projectId: string
  isAdmin: boolean
}

/** The image as the caller may see it; undefined when there is none, or others have not shared it with the caller. */
export async function findImage(read: Reader, viewer: ImageViewer, id: string): Promise<Image | undefined> {
  return read
    .selectFrom('images')
    .selectAll()
    .where('id', '=', id)
    .$if(!viewer.isAdmin, (select) => select.where(isVisibleTo(viewer)))
    .executeTakeFirst()
}

/** @throws ApiError itemNotFound */
export async function getImage(read: Reader, viewer: ImageViewer, id: string): Promise<Image> {
  const image = await findImage(read, viewer, id)
  if (!image) throw new ApiError('itemNotFound', `No image found with ID ${id}`)
  return image
}

/** Whether the caller may change the image, besides seeing it. */
export const mayChange = (viewer: ImageViewer, image: Pick<Image, 'projectId'>): boolean =>
  viewer.isAdmin || (image.projectId !== null && image.projectId === viewer.projectId)

/**
 * An image that the caller may change.
 * @throws ApiError itemNotFound; forbidden for one that the caller may only see.
 */
export async function getOwnImage(read: Reader, viewer: ImageViewer, id: string): Promise<Image> {
  const image = await getImage(read, viewer, id)
  if (!mayChange(viewer, image)) throw new ApiError('forbidden', 'You are not permitted to modify this image.')
  return image
}

/**
 * The same, kept as it is for others until the transaction ends.
 * @throws as `getOwnImage`.
 */
export async function lockOwnImage(tx: Tx, viewer: ImageViewer, id: string): Promise<Image> {
  await holdImage(tx, id)
  return getOwnImage(tx, viewer, id)
}

/** Keeps an image as it is for others until the transaction ends; does nothing when there is none. */
export async function holdImage(tx: Tx, id: string): Promise<void> {
  // Both databases let nobody else write a row that was written to; neither has another word for it in common.
  await tx
    .updateTable('images')
    .set((eb) => ({ updatedAt: eb.ref('updatedAt') }))
    .where('id', '=', id)
    .execute()
}

/**
 * One page of the images that the caller may see and did not ask to leave out; empty when `marker` is the last one.
 * @returns the page, and whether more follow.
 * @throws ApiError badRequest when `marker` is no image the caller may see.
 */
export async function listImages(
  read: Reader,
  viewer: ImageViewer,
  query: ImageQuery,
): Promise<{ images: Image[]; hasMore: boolean }> {
  let select = read.selectFrom('images').selectAll().where(isListedFor(viewer, query.scope))
  for (const condition of query.conditions) select = select.where(toSql(condition))
  if (query.marker !== undefined) {
    const marker = await findImage(read, viewer, query.marker)
    if (!marker) throw new ApiError('badRequest', `The marker '${query.marker}' is no image that you can see.`)
    select = select.where(comesAfter(query.order, marker))
  }
  select = select.orderBy(inOrder(query.order))
  if (query.limit === 0) return { images: [], hasMore: false }
  const images = await select.limit(query.limit + 1).execute()
  return { images: images.slice(0, query.limit), hasMore: images.length > query.limit }
}

/** Who knows an image's id sees it when it is for all, or shared with the caller, accepted or not. */
const isVisibleTo = ({ projectId }: ImageViewer) =>
  sql<boolean>`(images.visibility in ('public', 'community') or images."projectId" = ${projectId} or ${sharedWith(projectId)})`

/**
 * Lists leave out what would crowd them: images of the community unless they are asked for, and those that others share
 * with the caller unless the caller accepted. Source: glance/db/sqlalchemy/api.py, _make_conditions_from_filters.
 */
function isListedFor({ projectId, isAdmin }: ImageViewer, { withCommunity, memberStatus }: ImageQuery['scope']) {
  const everyones = withCommunity ? sql`('public', 'community')` : sql`('public')`
  const known = sql`images.visibility in ${everyones} or images."projectId" = ${projectId}`
  if (isAdmin) return sql<boolean>`(images.visibility <> 'community' or ${known})`
  return sql<boolean>`(${known} or ${sharedWith(projectId, memberStatus)})`
}

function sharedWith(projectId: string, status: MemberScope = 'all') {
  const wanted = status === 'all' ? sql`1 = 1` : sql`member.status = ${status}`
  return sql`(images.visibility = 'shared' and exists (select 1 from "imageMembers" as member
    where member."imageId" = images.id and member."memberId" = ${projectId} and ${wanted}))`
}

function toSql(condition: ImageCondition) {
  switch (condition.kind) {
    case 'compare':
      return sql<boolean>`${sql.ref(condition.column)} ${sql.raw(condition.operator)} ${condition.value}`
    case 'between': {
      const word = sql.raw(condition.isOutside ? 'not between' : 'between')
      return sql<boolean>`${sql.ref(condition.column)} ${word} ${condition.from} and ${condition.to}`
    }
    case 'oneOf':
      return sql<boolean>`${sql.ref(condition.column)} in (${sql.join(condition.values)})`
    case 'holds': {
      // The one way to ask for a part of a text that both databases know and that minds the case.
      const column = sql.ref(condition.column)
      const alternatives = condition.parts.map((part) => sql`replace(${column}, ${part}, '') <> ${column}`)
      return sql<boolean>`(${sql.join(alternatives, sql` or `)})`
    }
  }
}

/** The built-in image, the same on every installation. */
export const TINY_IMAGE_ID = 'd767f3ae-bc59-4621-8924-5cdbc6184dee'

/** What a build of the built-in image is like; hashes in hex, of the qcow2 file. */
export interface TinyFacts {
  sizeBytes: number
  virtualSizeBytes: number
  md5: string
  sha512: string
}

/** Writes the row of the built-in image, or follows a new build of it. Doing it again changes nothing. */
export async function seedTinyImage(tx: Tx, facts: TinyFacts, now: number): Promise<void> {
  const build = {
    sizeBytes: facts.sizeBytes,
    virtualSizeBytes: facts.virtualSizeBytes,
    checksum: facts.md5,
    hashAlgorithm: 'sha512',
    hashValue: facts.sha512,
  }
  const known = await tx.selectFrom('images').select('hashValue').where('id', '=', TINY_IMAGE_ID).executeTakeFirst()
  if (known?.hashValue === facts.sha512) return
  if (known) {
    await tx
      .updateTable('images')
      .set({ ...build, updatedAt: now })
      .where('id', '=', TINY_IMAGE_ID)
      .execute()
    return
  }
  await tx
    .insertInto('images')
    .values({
      id: TINY_IMAGE_ID,
      // The cloud's own: no project may change it.
      projectId: null,
      name: 'tiny',
      status: 'active',
      visibility: 'public',
      diskFormat: 'qcow2',
      containerFormat: 'bare',
      ...build,
      minDiskGib: 1,
      minRamMib: 96,
      isProtected: 1,
      isHidden: 0,
      verdict: null,
      tags: '[]',
      properties: JSON.stringify({
        os_admin_user: 'root',
        login_user: 'root',
        hw_qemu_guest_agent: 'yes',
        os_type: 'linux',
      }),
      createdAt: now,
      updatedAt: now,
    })
    .execute()
}
