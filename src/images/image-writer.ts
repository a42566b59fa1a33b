/**
 * Images that Novella itself makes, of servers and volumes. Whoever makes one writes the row first, asks the host for
 * the bytes, and then adopts them:
 *
 *   insertSnapshotImage ─ queued ─► setImageStatus saving ─► host.ensureImageOf ─► adoptImageFile ─ save ─► active
 *                                          └── fails ──► dropImage ─ save ─► no row, no bytes
 */
import type { Save } from '../actions/action.ts'
import type { Cloud } from '../cloud.ts'
import type { Reader, Tx } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { ImageStatus, ImageVisibility } from '../db/volume-schema.ts'
import type { ImageFile } from '../host/volume-host.ts'
import { hashFile } from './hashing.ts'
import { assertQuotaBytes } from './image-quotas.ts'
import { NO_BYTES } from './image-store.ts'
import { adoptAsUpload, removeUpload } from './upload-files.ts'

type WriterParts = Pick<Cloud, 'config' | 'clock' | 'hosts' | 'log'>

export interface SnapshotImage {
  id: string
  projectId: string
  name: string
  diskFormat: 'qcow2'
  containerFormat: 'bare'
  visibility: ImageVisibility
  properties: Readonly<Record<string, string>>
  minDiskGib: number
  minRamMib: number
  now: number
}

/** Writes the row of an image that is to be made, `queued`. */
export async function insertSnapshotImage(tx: Tx, image: SnapshotImage): Promise<Row<'images'>> {
  const { properties, now, ...columns } = image
  return tx
    .insertInto('images')
    .values({
      ...columns,
      status: 'queued',
      properties: JSON.stringify(properties),
      tags: '[]',
      isProtected: 0,
      isHidden: 0,
      ...NO_BYTES,
      verdict: null,
      createdAt: now,
      updatedAt: now,
    })
    .returningAll()
    .executeTakeFirstOrThrow()
}

/** Names of the actions that make images; each has the image's id in its input. */
const MAKERS = ['createImage', 'createBackup', 'uploadVolume'] as const

/** Whether Novella itself is making the image: it is `queued` for a while like any other, but takes nothing from users. */
export async function isBeingMade(read: Reader, imageId: string): Promise<boolean> {
  const action = await read
    .selectFrom('actions')
    .select('id')
    .where('isOpen', '=', 1)
    .where('name', 'in', MAKERS)
    .where('input', 'like', `%"imageId":"${imageId}"%`)
    .executeTakeFirst()
  return action !== undefined
}

/** Shows how far an image is; does nothing when it is gone. */
export async function setImageStatus(tx: Tx, imageId: string, status: ImageStatus, now: number): Promise<void> {
  await tx.updateTable('images').set({ status, updatedAt: now }).where('id', '=', imageId).execute()
}

/**
 * Takes over the file that a host made as an image's bytes. May be done again.
 * @returns what to save: the image is active then, with its sizes and hashes. When it was deleted meanwhile, its bytes
 * go after that transaction. It throws ApiError overLimit when the project has no room for so many bytes: how many an
 * image has is only known when it is made.
 */
export async function adoptImageFile(cloud: WriterParts, imageId: string, file: ImageFile): Promise<Save> {
  const [{ md5, sha512 }] = await Promise.all([hashFile(file.file), adoptAsUpload(cloud.config, imageId, file.file)])
  return async (tx) => {
    const image = await tx.selectFrom('images').select('projectId').where('id', '=', imageId).executeTakeFirst()
    if (image?.projectId != null) await assertQuotaBytes(cloud, tx, image.projectId, file.sizeBytes)
    const { numUpdatedRows } = await tx
      .updateTable('images')
      .set({
        status: 'active',
        sizeBytes: file.sizeBytes,
        virtualSizeBytes: file.virtualBytes,
        checksum: md5,
        hashAlgorithm: 'sha512',
        hashValue: sha512,
        updatedAt: cloud.clock.now(),
      })
      .where('id', '=', imageId)
      .executeTakeFirstOrThrow()
    if (numUpdatedRows > 0n) return
    tx.onCommit(() => {
      removeImageBytes(cloud, imageId).catch((error) =>
        cloud.log.error({ err: error, imageId }, 'the bytes of a deleted image stay; novella doctor finds them'),
      )
    })
  }
}

/**
 * Makes an image gone whose making failed. May be done again.
 * @returns what to save: the row goes.
 * @throws HostError when a host does not answer.
 */
export async function dropImage(cloud: WriterParts, imageId: string): Promise<Save> {
  await removeImageBytes(cloud, imageId)
  return async (tx) => {
    await tx.deleteFrom('images').where('id', '=', imageId).execute()
  }
}

/** Removes the bytes of an image here and on every host; disks that lean on it keep what they need. */
export async function removeImageBytes(cloud: Pick<Cloud, 'config' | 'hosts'>, imageId: string): Promise<void> {
  for (const host of cloud.hosts.values()) await host.removeImage(imageId)
  await removeUpload(cloud.config, imageId)
}
