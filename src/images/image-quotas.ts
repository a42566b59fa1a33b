import { sql } from 'kysely'
import type { Cloud } from '../cloud.ts'
import type { Reader } from '../db/database.ts'
import { ApiError } from '../http/api-error.ts'

type Parts = Pick<Cloud, 'config'>

const GIB = 1024 ** 3
const inGib = (bytes: number): number => Math.ceil((bytes / GIB) * 100) / 100

/** @throws ApiError overLimit when the project has as many images as it may. Source: neighbours.md, section 1.4. */
export async function assertImageCount({ config }: Parts, read: Reader, projectId: string): Promise<void> {
  if (config.quotaImages < 0) return
  const { count } = await read
    .selectFrom('images')
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .where('projectId', '=', projectId)
    .executeTakeFirstOrThrow()
  if (Number(count) < config.quotaImages) return
  throw new ApiError('overLimit', `Quota exceeded: this project has ${count} images of ${config.quotaImages}.`)
}

/**
 * How many bytes an image of the project may have that is uploaded now.
 * @param arrivingBytes of other images of the project that are here, but not active.
 * @throws ApiError overLimit when not even `neededBytes` fit.
 */
export async function assertImageBytes(
  parts: Parts,
  read: Reader,
  projectId: string,
  neededBytes: number,
  arrivingBytes = 0,
): Promise<number> {
  const largest = parts.config.largestImageGib * GIB
  if (neededBytes > largest) throw tooLarge(parts.config.largestImageGib)
  return Math.min(largest, await assertQuotaBytes(parts, read, projectId, neededBytes, arrivingBytes))
}

/**
 * As `assertImageBytes`, of an image that Novella made itself, which may be as large as the disk it was made of.
 * @returns how many bytes are left, perhaps infinitely many.
 */
export async function assertQuotaBytes(
  { config }: Parts,
  read: Reader,
  projectId: string,
  neededBytes: number,
  arrivingBytes = 0,
): Promise<number> {
  if (config.quotaImageGib < 0) return Number.POSITIVE_INFINITY
  const { used } = await read
    .selectFrom('images')
    .select(sql<number | null>`sum(${sql.ref('sizeBytes')})`.as('used'))
    .where('projectId', '=', projectId)
    // Of an import, the size is known before it is active: it is the one that asks.
    .where('status', 'in', ['active', 'deactivated'])
    .executeTakeFirstOrThrow()
  const usedBytes = Number(used ?? 0) + arrivingBytes
  const left = config.quotaImageGib * GIB - usedBytes
  if (left <= 0 || neededBytes > left) {
    throw new ApiError(
      'overLimit',
      `Quota exceeded: the images of this project have ${inGib(usedBytes)} GiB of ${config.quotaImageGib}; ` +
        'there is no room for this one.',
    )
  }
  return left
}

export const tooLarge = (gib: number): ApiError => new ApiError('overLimit', `The image is larger than ${gib} GiB.`)
