/**
 * How the making of an image from a user's bytes ends:
 *
 *   bytes admitted ─► publishImage ─► active
 *   anything else  ─► requeueImage ─► queued, nothing left of them, and what the inspection said
 */
import type { Cloud } from '../cloud.ts'
import type { Tx } from '../db/database.ts'
import type { ImageStatus } from '../db/volume-schema.ts'
import { ApiError } from '../http/api-error.ts'
import type { Accepted, Verdict } from './formats/verdict.ts'
import { isBootFile } from './image-formats.ts'
import { assertImageBytes } from './image-quotas.ts'
import { NO_BYTES } from './image-store.ts'
import { removeImageBytes } from './image-writer.ts'
import type { Received } from './receive-image.ts'
import { forgetDropped, markDropped, publishUpload, removeUpload } from './upload-files.ts'

type Parts = Pick<Cloud, 'config' | 'db' | 'clock' | 'hosts' | 'log'>

/** States in which the bytes of a user are on their way. */
const UNDER_WAY: readonly ImageStatus[] = ['saving', 'uploading', 'importing']

/**
 * Makes an image active whose bytes every host has.
 * @throws ApiError itemNotFound when it was deleted meanwhile; overLimit when the project has no room for it.
 */
export async function publishImage(
  cloud: Parts,
  imageId: string,
  from: 'part' | 'staged',
  { received, verdict }: { received: Received; verdict: Accepted },
): Promise<void> {
  await publishUpload(cloud.config, imageId, from)
  await cloud.db.transaction((tx) => saveActive(cloud, tx, imageId, received, verdict))
  await removeUpload(cloud.config, imageId, [from])
}

async function saveActive(cloud: Parts, tx: Tx, imageId: string, received: Received, verdict: Accepted) {
  const image = await tx.selectFrom('images').select('projectId').where('id', '=', imageId).executeTakeFirst()
  if (image?.projectId != null) await assertImageBytes(cloud, tx, image.projectId, received.sizeBytes)
  const { numUpdatedRows } = await tx
    .updateTable('images')
    .set({
      status: 'active',
      ...columnsOf(received),
      virtualSizeBytes: isBootFile(verdict.format) ? null : verdict.virtualSizeBytes,
      verdict: JSON.stringify(verdict),
      updatedAt: cloud.clock.now(),
    })
    .where('id', '=', imageId)
    .where('status', 'in', UNDER_WAY)
    .executeTakeFirstOrThrow()
  if (numUpdatedRows === 0n) throw new ApiError('itemNotFound', `Image ${imageId} was deleted while it was uploaded.`)
}

/** What a row says of bytes that arrived. */
export const columnsOf = ({ sizeBytes, hashes }: Received) => ({
  sizeBytes,
  checksum: hashes.md5,
  hashAlgorithm: 'sha512',
  hashValue: hashes.sha512,
})

/** The row waits for bytes again; does nothing when it is gone, or has some. */
export async function saveQueued(tx: Tx, imageId: string, now: number, verdict?: Verdict): Promise<void> {
  await tx
    .updateTable('images')
    .set({ status: 'queued', ...NO_BYTES, updatedAt: now, ...(verdict ? { verdict: JSON.stringify(verdict) } : {}) })
    .where('id', '=', imageId)
    .where('status', 'in', UNDER_WAY)
    .execute()
}

/** Whether the image became active, whatever failed after that: its bytes must stay. */
export async function hasBytes({ db }: Pick<Parts, 'db'>, imageId: string): Promise<boolean> {
  const image = await db.read.selectFrom('images').select('status').where('id', '=', imageId).executeTakeFirst()
  return image?.status === 'active' || image?.status === 'deactivated'
}

/**
 * Removes what came of an image's bytes, here and on the hosts, and then waits for others. When a host does not let go,
 * the image is `killed`: a host that keeps old bytes under this id would give them to servers for the new ones.
 * @param release called when nothing of the bytes is left, just before others may begin.
 */
export async function requeueImage(
  cloud: Parts,
  imageId: string,
  { verdict, release }: { verdict?: Verdict | undefined; release?: () => Promise<void> } = {},
): Promise<void> {
  if (await hasBytes(cloud, imageId)) return
  // Without the files, nothing else would tell at the next start whose row this process left in the middle.
  await markDropped(cloud.config, imageId)
  let isKilled = false
  try {
    await removeImageBytes(cloud, imageId)
  } catch (error) {
    cloud.log.error({ err: error, imageId }, 'the bytes of a refused image stay; the image can only be deleted')
    isKilled = true
  }
  await release?.()
  await cloud.db.transaction(async (tx) => {
    await saveQueued(tx, imageId, cloud.clock.now(), verdict)
    if (isKilled) await tx.updateTable('images').set({ status: 'killed' }).where('id', '=', imageId).execute()
  })
  await forgetDropped(cloud.config, imageId)
}
