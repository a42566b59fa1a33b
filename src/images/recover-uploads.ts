import type { Cloud } from '../cloud.ts'
import type { Reader } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { isBeingMade } from './image-writer.ts'
import { requeueImage } from './settle-image.ts'
import { forgetDropped, readDropped, readUploads, removeUpload, sizeOfUpload } from './upload-files.ts'

/**
 * Clears what a process left behind that died while images arrived. To be called once, before anything arrives: the
 * files say which rows were this process's own.
 *
 *   .part     of a row that is saving or uploading: queued again; of an active one: only a second name
 *   .staged   stays while its row waits for an import, whole; otherwise as above
 *   dropped   the row was to be queued again: as .part
 *   none      of a row that is saving or uploading, and that nobody makes: queued again, where no other process has
 *             the database too
 */
export async function recoverUploads(cloud: Pick<Cloud, 'config' | 'db' | 'clock' | 'hosts' | 'log'>): Promise<void> {
  const { config, db } = cloud
  for (const imageId of await readDropped(config)) {
    const image = await findImage(db.read, imageId)
    const isWhole = image && isStaged(image) && (await sizeOfUpload(config, imageId, 'staged')) !== undefined
    if (!isWhole && (image?.status === 'saving' || image?.status === 'uploading')) await requeue(cloud, imageId)
    await forgetDropped(config, imageId)
  }
  for (const { imageId, stage } of await readUploads(config)) {
    if (stage === 'whole') continue
    const image = await findImage(db.read, imageId)
    // An import goes on by itself, from its last step.
    if (image?.status === 'importing' || (stage === 'staged' && image && isStaged(image))) continue
    if (image?.status === 'saving' || image?.status === 'uploading') await requeue(cloud, imageId)
    else await removeUpload(config, imageId, [stage])
  }
  if (db.kind === 'sqlite') await recoverRows(cloud)
}

const findImage = (read: Reader, imageId: string) =>
  read.selectFrom('images').select(['status', 'checksum']).where('id', '=', imageId).executeTakeFirst()

const isStaged = ({ status, checksum }: Pick<Row<'images'>, 'status' | 'checksum'>): boolean =>
  status === 'uploading' && checksum !== null

/** Somebody may have taken the files away, or restored the database without them. */
async function recoverRows(cloud: Parameters<typeof recoverUploads>[0]): Promise<void> {
  const images = await cloud.db.read
    .selectFrom('images')
    .select(['id', 'status', 'checksum'])
    .where('status', 'in', ['saving', 'uploading'])
    .execute()
  for (const image of images) {
    const hasFile = isStaged(image) && (await sizeOfUpload(cloud.config, image.id, 'staged')) !== undefined
    if (!hasFile && !(await isBeingMade(cloud.db.read, image.id))) await requeue(cloud, image.id)
  }
}

async function requeue(cloud: Parameters<typeof recoverUploads>[0], imageId: string): Promise<void> {
  cloud.log.info({ imageId }, 'an upload was broken off when Novella stopped; the image is queued again')
  await requeueImage(cloud, imageId)
}
