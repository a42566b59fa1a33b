import type { Reader } from '../db/database.ts'
import { comesAfter, inOrder, type SortColumn } from '../db/keyset.ts'
import type { Row } from '../db/schema.ts'
import { ApiError } from '../http/api-error.ts'

export type Flavor = Row<'flavors'>

/** Which flavors a list shows, and in which order. */
export interface FlavorQuery {
  /** True: public ones only; false: the others only; null: both. */
  isPublic: boolean | null
  /** Whether disabled ones are shown too. */
  withDisabled: boolean
  minRamMib: number
  minDiskGib: number
  sortBy: keyof Flavor
  isDescending: boolean
  limit: number
  /** Id of the last flavor of the page before. */
  marker: string | undefined
}

/** The flavor, also a disabled or non-public one; undefined when there is none. */
export async function findFlavor(read: Reader, id: string): Promise<Flavor | undefined> {
  return read.selectFrom('flavors').selectAll().where('id', '=', id).executeTakeFirst()
}

/**
 * The flavor as the caller may see it: a disabled one too, since servers may still have it, but a non-public one
 * only for admins. Undefined when there is none.
 */
export async function findVisibleFlavor(
  read: Reader,
  caller: { isAdmin: boolean },
  id: string,
): Promise<Flavor | undefined> {
  const flavor = await findFlavor(read, id)
  return flavor && (flavor.isPublic === 1 || caller.isAdmin) ? flavor : undefined
}

/**
 * One page of flavors; empty when `marker` is the last one.
 * @throws ApiError badRequest when `marker` is no flavor that such a list shows.
 */
export async function listFlavors(read: Reader, query: FlavorQuery): Promise<Flavor[]> {
  const shown = () => {
    let select = read.selectFrom('flavors').selectAll()
    if (query.isPublic !== null) select = select.where('isPublic', '=', query.isPublic ? 1 : 0)
    if (!query.withDisabled) select = select.where('isDisabled', '=', 0)
    return select
  }
  const order: SortColumn<keyof Flavor>[] = [
    { column: query.sortBy, isDescending: query.isDescending },
    { column: 'id', isDescending: query.isDescending },
  ]
  let select = shown().where('ramMib', '>=', query.minRamMib).where('diskGib', '>=', query.minDiskGib)
  if (query.marker !== undefined) {
    const known = await findFlavor(read, query.marker)
    const marker = known && (await shown().where('id', '=', known.id).executeTakeFirst())
    if (!marker) throw new ApiError('badRequest', `The marker '${query.marker}' is no flavor of this list.`)
    select = select.where(comesAfter(order, marker))
  }
  return select.orderBy(inOrder(order)).limit(query.limit).execute()
}
