import type { Cloud } from '../cloud.ts'
import { requeueImage } from './settle-image.ts'
import { readUploads, removeUpload } from './upload-files.ts'

/**
 * Clears what a process left behind that died while images arrived. To be called once, before anything arrives: the
 * files say which rows were this process's own.
 *
 *   .part     of a row that is saving or uploading: queued again; of an active one: only a second name
 *   .staged   stays while its row waits for an import, whole; otherwise as above
 */
export async function recoverUploads(cloud: Pick<Cloud, 'config' | 'db' | 'clock' | 'hosts' | 'log'>): Promise<void> {
  const { config, db } = cloud
  for (const { imageId, stage } of await readUploads(config)) {
    if (stage === 'whole') continue
    const image = await db.read
      .selectFrom('images')
      .select(['status', 'checksum'])
      .where('id', '=', imageId)
      .executeTakeFirst()
    const isStaged = stage === 'staged' && image?.status === 'uploading' && image.checksum !== null
    // An import goes on by itself, from its last step.
    if (isStaged || image?.status === 'importing') continue
    if (image?.status === 'saving' || image?.status === 'uploading') {
      cloud.log.info({ imageId }, 'an upload was broken off when Novella stopped; the image is queued again')
      await requeueImage(cloud, imageId)
    } else await removeUpload(config, imageId, [stage])
  }
}
