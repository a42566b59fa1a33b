import { sql } from 'kysely'
import type { Reader, Tx } from '../db/database.ts'
import { comesAfter, inOrder } from '../db/keyset.ts'
import type { Row } from '../db/schema.ts'
import { ApiError } from '../http/api-error.ts'
import type { ImageCondition, ImageQuery } from './image-query.ts'

export type Image = Row<'images'>

/** Who looks: images are public, or belong to one project; admins see all. */
export interface ImageViewer {
  projectId: string
  isAdmin: boolean
}

/** The image as the caller may see it; undefined when there is none, or it is private to another project. */
export async function findImage(read: Reader, viewer: ImageViewer, id: string): Promise<Image | undefined> {
  return visibleImages(read, viewer).where('id', '=', id).executeTakeFirst()
}

/**
 * One page of the images that the caller may see; empty when `marker` is the last one.
 * @returns the page, and whether more follow.
 * @throws ApiError badRequest when `marker` is no image the caller may see.
 */
export async function listImages(
  read: Reader,
  viewer: ImageViewer,
  query: ImageQuery,
): Promise<{ images: Image[]; hasMore: boolean }> {
  let select = visibleImages(read, viewer)
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

function visibleImages(read: Reader, { projectId, isAdmin }: ImageViewer) {
  const select = read.selectFrom('images').selectAll()
  if (isAdmin) return select
  return select.where((eb) => eb.or([eb('visibility', '=', 'public'), eb('projectId', '=', projectId)]))
}

function toSql(condition: ImageCondition) {
  switch (condition.kind) {
    case 'never':
      return sql<boolean>`1 = 0`
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
