/**
 * An upload, from the first byte to an active image, in the request that brings it:
 *
 *   queued ─► saving ─► (all bytes here) ─► inspected ─► on the hosts ─► active
 *               │ broken off, refused, no room, too large, silent
 *               └─► queued, and nothing of it is left
 *
 * Or into the staging area, from where `importImage` goes on: queued ─► uploading. A client that sends parts with
 * `Content-Range` may break off and go on where it was.
 */
import type { Readable } from 'node:stream'
import type { Cloud } from '../cloud.ts'
import { syncDirectory } from '../host/durable-file.ts'
import { ApiError } from '../http/api-error.ts'
import type { Caller } from '../http/policy.ts'
import { admitImage, RefusedImageError } from './admit-image.ts'
import type { SentRange } from './content-range.ts'
import type { Verdict } from './formats/verdict.ts'
import { assertImageBytes } from './image-quotas.ts'
import { getOwnImage } from './image-store.ts'
import { bytesOf, UploadAbortedError, type UploadSession } from './image-uploads.ts'
import { isBeingMade } from './image-writer.ts'
import { pump, StalledError, TooManyBytesError } from './pump.ts'
import { ImageReceiver, NoRoomError, type Received } from './receive-image.ts'
import { columnsOf, publishImage, requeueImage } from './settle-image.ts'
import {
  ensureUploadsDirectory,
  hasRoomFor,
  moveUpload,
  removeUpload,
  uploadFile,
  uploadsDirectory,
} from './upload-files.ts'

/** How long a client that sends parts may be away until others may arrive in its place, in milliseconds. */
const PLACE_MS = 5 * 60_000
/** How long until what it sent is forgotten. */
const RESUME_MS = 3_600_000

export interface UploadWish {
  imageId: string
  body: Readable
  /** `Content-Length`; undefined when the client does not know. */
  lengthBytes: number | undefined
  /** `Content-Range`; undefined: all of it comes now. */
  range: SentRange | undefined
  /** Where it goes: into use, or into the staging area. */
  to: 'active' | 'staged'
}

/** What became of it: all is done, or so many bytes of a whole are here. */
export type UploadOutcome = { isDone: true } | { isDone: false; receivedBytes: number }

/**
 * Takes an image's bytes.
 * @throws ApiError itemNotFound, forbidden; conflictingRequest unless the image is queued, or for a part that does not
 *   fit; badRequest when it lacks its formats or the inspection refuses it; overLimit when it is too large or there is
 *   no room; requestTimeout when the client falls silent.
 */
export async function acceptUpload(cloud: Cloud, caller: Caller, wish: UploadWish): Promise<UploadOutcome> {
  const image = await getOwnImage(cloud.db.read, caller, wish.imageId)
  const session = (await findSession(cloud, wish)) ?? (await beginSession(cloud, image.projectId ?? '', wish))
  if (wish.range?.from === null) return { isDone: false, receivedBytes: bytesOf(session) }
  let isKept = false
  try {
    const isWhole = await takeBytes(cloud, session, wish)
    if (!isWhole) {
      isKept = true
      return { isDone: false, receivedBytes: keep(cloud, session) }
    }
    const received = await finish(session)
    if (wish.to === 'staged') await stage(cloud, session, received)
    else {
      const verdict = await admitImage(cloud, image, 'part')
      await publishImage(cloud, image.id, 'part', { received, verdict })
    }
    return { isDone: true }
  } catch (error) {
    if (isBrokenOff(error) && wish.range !== undefined && session.receiver && !session.isAborted) {
      isKept = true
      keep(cloud, session)
    } else {
      await dropSession(cloud, session, error instanceof RefusedImageError ? error.verdict : undefined)
    }
    throw inCallersTerms(error)
  } finally {
    if (!isKept) await cloud.imageUploads.end(session)
  }
}

/** The session that a part goes on with. */
async function findSession(cloud: Cloud, { imageId, range }: UploadWish): Promise<UploadSession | undefined> {
  await cloud.imageUploads.find(imageId)?.parking
  const session = cloud.imageUploads.find(imageId)
  if (!session || range === undefined) return undefined
  if (session.isBusy) throw new ApiError('conflictingRequest', `Data of image ${imageId} are on their way already.`)
  if (range.from === null) return session
  const here = bytesOf(session)
  if (range.from === 0 && here !== 0) {
    // The client begins again.
    session.isBusy = true
    await dropSession(cloud, session)
    return undefined
  }
  if (range.from !== here || range.total !== session.totalBytes) {
    throw new ApiError(
      'conflictingRequest',
      `Of image ${imageId}, ${here} of ${session.totalBytes} bytes are here: go on with Content-Range: bytes ${here}-….`,
      { headers: rangeHeader(here) },
    )
  }
  if (!session.receiver) cloud.imageUploads.demandPlace(session.projectId)
  session.cancelExpiry?.()
  session.isBusy = true
  return session
}

/** How clients learn how much is here. */
export const rangeHeader = (receivedBytes: number): Record<string, string> =>
  receivedBytes === 0 ? {} : { range: `bytes=0-${receivedBytes - 1}` }

async function beginSession(cloud: Cloud, projectId: string, wish: UploadWish): Promise<UploadSession> {
  const { imageId, range, lengthBytes, to } = wish
  if (range !== undefined && range.from !== 0) {
    throw new ApiError(
      'conflictingRequest',
      `Nothing of image ${imageId} is here: begin with Content-Range: bytes 0-….`,
    )
  }
  const session = cloud.imageUploads.begin(imageId, projectId)
  let hasFile = false
  try {
    await demandRoom(cloud, session, range?.total ?? lengthBytes ?? 0)
    await ensureUploadsDirectory(cloud.config)
    // The file first: at the next start it tells whose row was left in the middle.
    session.totalBytes = range?.total
    session.receiver = await ImageReceiver.begin(uploadFile(cloud.config, imageId, 'part'))
    hasFile = true
    await syncDirectory(uploadsDirectory(cloud.config))
    await cloud.db.transaction(async (tx) => {
      const { numUpdatedRows } = await tx
        .updateTable('images')
        .set({ status: to === 'active' ? 'saving' : 'uploading', verdict: null, updatedAt: cloud.clock.now() })
        .where('id', '=', imageId)
        .where('status', '=', 'queued')
        .where('diskFormat', 'is not', null)
        .where('containerFormat', 'is not', null)
        .executeTakeFirstOrThrow()
      if (await isBeingMade(tx, imageId)) throw beingMade(imageId)
      if (numUpdatedRows > 0n) return
      const image = await tx.selectFrom('images').selectAll().where('id', '=', imageId).executeTakeFirst()
      if (!image) throw new ApiError('itemNotFound', `No image found with ID ${imageId}`)
      if (image.status === 'queued') {
        throw new ApiError('badRequest', 'disk_format and container_format must be set before data are uploaded.')
      }
      throw new ApiError('conflictingRequest', `Image status transition from ${image.status} to saving is not allowed.`)
    })
    return session
  } catch (error) {
    await cloud.imageUploads.end(session)
    if (hasFile) await removeUpload(cloud.config, imageId, ['part'])
    throw error
  }
}

/** Two writers of one image would each take the other's bytes away. */
export const beingMade = (imageId: string): ApiError =>
  new ApiError('conflictingRequest', `Image ${imageId} is being made of a server or a volume; it takes no other data.`)

/** @returns how many bytes the image may have, as `assertImageBytes`. */
async function demandQuota(cloud: Cloud, { imageId, projectId }: UploadSession, neededBytes: number): Promise<number> {
  const arrivingBytes = cloud.imageUploads.arrivingBytes(projectId, imageId)
  return assertImageBytes(cloud, cloud.db.read, projectId, neededBytes, arrivingBytes)
}

async function demandRoom(cloud: Cloud, session: UploadSession, neededBytes: number): Promise<void> {
  await demandQuota(cloud, session, neededBytes)
  if (!(await hasRoomFor(cloud.config, neededBytes))) {
    throw inCallersTerms(new NoRoomError('There is not enough room for the image.'))
  }
}

/** @returns whether all of the image is here. */
async function takeBytes(cloud: Cloud, session: UploadSession, wish: UploadWish): Promise<boolean> {
  const { range, imageId } = wish
  // Also one without a byte may have been parked; one without a file never was.
  if (session.parking && !session.receiver) {
    session.receiver = await ImageReceiver.resume(uploadFile(cloud.config, imageId, 'part'), session.parkedBytes)
  }
  const { receiver } = session
  if (!receiver) throw new UploadAbortedError()
  const most = await demandQuota(cloud, session, 0)
  const limit = range === undefined ? most : Math.min(most, (range.to ?? 0) + 1)
  const before = receiver.sizeBytes
  await pump(wish.body, session, receiver, { mostBytes: limit, hasRoom: () => hasRoomFor(cloud.config, 0) })
  if (range === undefined) return true
  if (receiver.sizeBytes - before < range.to + 1 - (range.from ?? 0)) {
    throw new BrokenOffError('Content-Range names more bytes than came.')
  }
  return receiver.sizeBytes === range.total
}

async function finish({ receiver }: UploadSession): Promise<Received> {
  if (!receiver) throw new UploadAbortedError()
  return receiver.finish()
}

/** The bytes wait to be imported; what they are like is kept with the row. */
async function stage(cloud: Cloud, session: UploadSession, received: Received): Promise<void> {
  const { imageId } = session
  await moveUpload(cloud.config, imageId, 'part', 'staged')
  const { numUpdatedRows } = await cloud.db.transaction((tx) =>
    tx
      .updateTable('images')
      .set({ ...columnsOf(received), updatedAt: cloud.clock.now() })
      .where('id', '=', imageId)
      .where('status', '=', 'uploading')
      .executeTakeFirstOrThrow(),
  )
  if (numUpdatedRows === 0n) throw new UploadAbortedError()
}

/** Lets a session wait for the next part: for a while in its place, and then as a file only. @returns its bytes. */
function keep(cloud: Cloud, session: UploadSession): number {
  const { imageUploads, clock, log } = cloud
  const { imageId } = session
  const end = () => {
    if (session.isBusy) return
    session.isBusy = true
    dropSession(cloud, session).catch((error) => log.error({ err: error, imageId }, 'an upload could not be given up'))
  }
  session.isBusy = false
  session.cancelExpiry = clock.after(PLACE_MS, () => {
    session.cancelExpiry = clock.after(RESUME_MS - PLACE_MS, end)
    imageUploads.park(session).catch((error) => {
      log.info({ err: error, imageId }, 'what a client sent of an image could not be kept')
      end()
    })
  })
  return bytesOf(session)
}

/** Forgets what came of an image. Nobody else begins before all of it is gone. */
async function dropSession(cloud: Cloud, session: UploadSession, verdict?: Verdict): Promise<void> {
  const release = () => cloud.imageUploads.end(session)
  try {
    await cloud.imageUploads.close(session)
    await requeueImage(cloud, session.imageId, { verdict, release })
  } finally {
    await release()
  }
}

/** Fewer bytes came than were announced. */
class BrokenOffError extends Error {
  override readonly name = 'BrokenOffError'
}

const isBrokenOff = (error: unknown): boolean =>
  error instanceof BrokenOffError ||
  error instanceof StalledError ||
  ['ECONNRESET', 'ERR_STREAM_PREMATURE_CLOSE', 'ABORT_ERR'].includes((error as NodeJS.ErrnoException).code ?? '')

function inCallersTerms(error: unknown): unknown {
  const options = { cause: error }
  if (error instanceof NoRoomError) return new ApiError('overLimit', error.message, options)
  if (error instanceof TooManyBytesError) return new ApiError('overLimit', error.message, options)
  if (error instanceof RefusedImageError) return new ApiError('badRequest', error.message, options)
  if (error instanceof UploadAbortedError) {
    return new ApiError('itemNotFound', 'The image was deleted while it was uploaded.', options)
  }
  if (error instanceof StalledError) return new ApiError('requestTimeout', error.message, options)
  if (isBrokenOff(error)) return new ApiError('badRequest', 'The data ended before they were complete.', options)
  return error
}
