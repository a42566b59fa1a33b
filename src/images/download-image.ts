import { open } from 'node:fs/promises'
import { join } from 'node:path'
import type { FastifyReply } from 'fastify'
import type { Cloud } from '../cloud.ts'
import { imagesDirectory } from '../host/open-host.ts'
import { ApiError } from '../http/api-error.ts'
import type { Caller } from '../http/policy.ts'
import { readRange } from './content-range.ts'
import { getImage, type Image, TINY_IMAGE_ID } from './image-store.ts'
import { uploadFile } from './upload-files.ts'

/** Read at once, in bytes. */
const PIECE_BYTES = 256 * 1024

/**
 * Sends an image's bytes as they were uploaded, all or the part that was asked for.
 * @throws ApiError itemNotFound; forbidden when it is deactivated; rangeNotSatisfiable.
 */
export async function sendImageFile(
  cloud: Cloud,
  caller: Caller,
  imageId: string,
  range: string | undefined,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const image = await getImage(cloud.db.read, caller, imageId)
  if (image.status === 'deactivated' && !caller.isAdmin) {
    throw new ApiError('forbidden', 'The requested image has been deactivated. Image data download is forbidden.')
  }
  const hasBytes = (image.status === 'active' || image.status === 'deactivated') && (image.sizeBytes ?? 0) > 0
  if (!hasBytes) return reply.code(204).send()
  return sendFile(image, await openUpload(cloud, image), range, reply)
}

async function openUpload({ config }: Cloud, { id }: Image) {
  // The built-in image was never uploaded: it is what its disk is.
  const path = id === TINY_IMAGE_ID ? join(imagesDirectory(config), id, 'disk.qcow2') : uploadFile(config, id, 'whole')
  try {
    return await open(path, 'r')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    throw new ApiError('itemNotFound', 'The data of this image are not here.', { cause: error })
  }
}

async function sendFile(
  { checksum }: Image,
  file: Awaited<ReturnType<typeof open>>,
  wished: string | undefined,
  reply: FastifyReply,
): Promise<FastifyReply> {
  try {
    const { size } = await file.stat()
    const range = readRange(wished, size)
    if (range === 'none') {
      throw new ApiError('rangeNotSatisfiable', `The image has ${size} bytes; the range begins behind them.`, {
        headers: { 'content-range': `bytes */${size}` },
      })
    }
    const { from, to } = range === 'all' ? { from: 0, to: size - 1 } : range
    reply.headers({ 'content-type': 'application/octet-stream', 'accept-ranges': 'bytes' })
    reply.header('content-length', to - from + 1)
    if (range !== 'all') reply.code(206).header('content-range', `bytes ${from}-${to}/${size}`)
    else if (checksum !== null) reply.header('content-md5', checksum)
    return reply.send(file.createReadStream({ start: from, end: to, highWaterMark: PIECE_BYTES }))
  } catch (error) {
    await file.close()
    throw error
  }
}
