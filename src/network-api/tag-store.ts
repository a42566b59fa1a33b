import type { Reader, Tx } from '../db/database.ts'
import { networkError } from './network-errors.ts'

/** How many ids one question may name: SQLite takes 32,766 values, and the text stays short. */
const IDS_AT_ONCE = 1_000
/** How many tags a resource may have. */
const MOST = 50

/** The tags of these resources, sorted; a resource without any has no entry. */
export async function readTags(read: Reader, resourceIds: readonly string[]): Promise<Map<string, string[]>> {
  const tags = new Map<string, string[]>()
  for (let from = 0; from < resourceIds.length; from += IDS_AT_ONCE) {
    const rows = await read
      .selectFrom('tags')
      .selectAll()
      .where('resourceId', 'in', resourceIds.slice(from, from + IDS_AT_ONCE))
      .orderBy('tag')
      .execute()
    for (const { resourceId, tag } of rows) tags.set(resourceId, [...(tags.get(resourceId) ?? []), tag])
  }
  return tags
}

/**
 * Puts these tags in place of all that the resource had; each counts once.
 * @throws ApiError HTTPBadRequest for too many.
 */
export async function replaceTags(tx: Tx, resourceId: string, tags: readonly string[]): Promise<void> {
  await tx.deleteFrom('tags').where('resourceId', '=', resourceId).execute()
  const rows = [...new Set(tags)].map((tag) => ({ resourceId, tag }))
  if (rows.length > MOST) throw tooMany()
  if (rows.length > 0) await tx.insertInto('tags').values(rows).execute()
}

/** @throws ApiError HTTPBadRequest when it has as many as it may have. */
export async function addTag(tx: Tx, resourceId: string, tag: string): Promise<void> {
  const before = (await readTags(tx, [resourceId])).get(resourceId) ?? []
  if (before.length >= MOST && !before.includes(tag)) throw tooMany()
  await tx
    .insertInto('tags')
    .values({ resourceId, tag })
    .onConflict((conflict) => conflict.doNothing())
    .execute()
}

/** @returns false when the resource has no such tag. */
export async function removeTag(tx: Tx, resourceId: string, tag: string): Promise<boolean> {
  const { numDeletedRows } = await tx
    .deleteFrom('tags')
    .where('resourceId', '=', resourceId)
    .where('tag', '=', tag)
    .executeTakeFirstOrThrow()
  return numDeletedRows > 0n
}

const tooMany = () => networkError('HTTPBadRequest', `A resource has at most ${MOST} tags.`)
