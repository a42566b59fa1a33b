/**
 * Makes an image of bytes that wait in the staging area, or that Novella downloads itself.
 *
 *   glance-direct   inspect → convert → publish
 *   web-download    download → inspect → convert → publish
 *   what fails      giveUp: queued again, with the reason where it is the image's own
 */
import type { Action, Outcome, StepFacts } from '../actions/action.ts'
import type { Cloud } from '../cloud.ts'
import type { Row } from '../db/schema.ts'
import { inspectUpload, placeOnHosts, RefusedImageError } from './admit-image.ts'
import type { Accepted } from './formats/verdict.ts'
import { assertImageBytes } from './image-quotas.ts'
import { removeImageBytes } from './image-writer.ts'
import { pump } from './pump.ts'
import { ImageReceiver, NoRoomError, type Received } from './receive-image.ts'
import { columnsOf, hasBytes, publishImage, saveQueued } from './settle-image.ts'
import { ensureUploadsDirectory, hasRoomFor, moveUpload, uploadFile } from './upload-files.ts'
import { openDownload, readInside, WebDownloadError } from './web-download.ts'

/** Body of `POST /images/{id}/import` under `method`. */
export type ImportInput = { name: 'glance-direct' } | { name: 'web-download'; uri: string }
type Step = 'download' | 'inspect' | 'convert' | 'publish' | 'giveUp'

export type ImageActionParts = Pick<Cloud, 'config' | 'db' | 'clock' | 'hosts' | 'log' | 'imageUploads'>

export interface ImageSubject {
  image: Row<'images'>
}

const DEADLINE_MS = 12 * 3_600_000
/** How long a download may take, in milliseconds: a server that sends a byte now and then would never end. */
const LONGEST_DOWNLOAD_MS = 6 * 3_600_000
/** How long a download waits for others to end before it looks again, in milliseconds. */
const CROWD_PAUSE_MS = 5_000

/** Imports an image that is `importing`; refused or failed, it is `queued` again. */
export function importImage(parts: ImageActionParts): Action<ImportInput, Step, ImageSubject> {
  const { config, db, clock, imageUploads } = parts
  return {
    name: 'importImage',
    first: 'download',
    deadlineMs: DEADLINE_MS,
    async read(imageId) {
      const image = await db.read.selectFrom('images').selectAll().where('id', '=', imageId).executeTakeFirst()
      return image && { image }
    },
    steps: {
      async download({ image, input }) {
        if (input.name === 'glance-direct') return { go: 'inspect' }
        if (imageUploads.isCrowded(image.projectId ?? '')) return { waitMs: CROWD_PAUSE_MS }
        const received = await download(image, input.uri)
        return {
          go: 'inspect',
          save: async (tx) => {
            await tx.updateTable('images').set(columnsOf(received)).where('id', '=', image.id).execute()
          },
        }
      },
      async inspect({ image }) {
        const verdict = await inspectUpload(parts, image, 'staged')
        return {
          go: 'convert',
          save: async (tx) => {
            const columns = { verdict: JSON.stringify(verdict) }
            await tx.updateTable('images').set(columns).where('id', '=', image.id).execute()
          },
        }
      },
      async convert({ image }) {
        await placeOnHosts(parts, image, 'staged', verdictOf(image))
        return { go: 'publish' }
      },
      async publish({ image }) {
        // Done already, by a process that was killed before it could say so.
        if (image.status !== 'active') {
          await publishImage(parts, image.id, 'staged', { received: receivedOf(image), verdict: verdictOf(image) })
        }
        return { done: true }
      },
      async giveUp({ image }) {
        if (await hasBytes(parts, image.id)) return { done: true }
        await removeImageBytes(parts, image.id)
        return { done: true, save: (tx) => saveQueued(tx, image.id, clock.now()) }
      },
    },
    failed: ({ image }: ImageSubject & StepFacts<ImportInput>, error: Error): Outcome<Step> => ({
      go: 'giveUp',
      save: async (tx) => {
        const verdict = JSON.stringify(verdictOfFailure(image, error))
        await tx.updateTable('images').set({ verdict }).where('id', '=', image.id).execute()
      },
    }),
    async abandoned(tx, imageId) {
      await tx
        .updateTable('images')
        .set({ status: 'killed', updatedAt: clock.now() })
        .where('id', '=', imageId)
        .where('status', '=', 'importing')
        .execute()
    },
  }

  async function download(image: Row<'images'>, uri: string): Promise<Received> {
    const session = imageUploads.begin(image.id, image.projectId ?? '')
    const ending = new AbortController()
    const cancelLate = clock.after(LONGEST_DOWNLOAD_MS, () => {
      const late = new WebDownloadError(`The download took more than ${LONGEST_DOWNLOAD_MS / 3_600_000} hours.`)
      session.interrupt?.(late)
      ending.abort(late)
    })
    try {
      const inside = readInside(config.webDownloadInside)
      const { body, lengthBytes = 0 } = await openDownload(uri, { inside, signal: ending.signal })
      const arrivingBytes = imageUploads.arrivingBytes(session.projectId, image.id)
      const most = await assertImageBytes(parts, db.read, session.projectId, lengthBytes, arrivingBytes)
      if (!(await hasRoomFor(config, lengthBytes))) throw new NoRoomError('There is not enough room for the image.')
      await ensureUploadsDirectory(config)
      session.receiver = await ImageReceiver.begin(uploadFile(config, image.id, 'part'))
      await pump(body, session, session.receiver, { mostBytes: most, hasRoom: () => hasRoomFor(config, 0) })
      const received = await session.receiver.finish()
      await moveUpload(config, image.id, 'part', 'staged')
      return received
    } finally {
      cancelLate()
      // What is left of it is not wanted.
      ending.abort()
      await imageUploads.end(session)
    }
  }
}

const verdictOf = (image: Row<'images'>): Accepted => JSON.parse(image.verdict ?? '{}')

const receivedOf = ({ sizeBytes, checksum, hashValue }: Row<'images'>): Received => ({
  sizeBytes: sizeBytes ?? 0,
  hashes: { md5: checksum ?? '', sha512: hashValue ?? '' },
})

/** Why an import failed, where users find why an upload was refused. */
function verdictOfFailure({ diskFormat }: Row<'images'>, error: Error) {
  if (error instanceof RefusedImageError) return error.verdict
  const isTheirs = error instanceof WebDownloadError || (error as { isFinal?: boolean }).isFinal === true
  const message = isTheirs || error instanceof NoRoomError ? error.message : 'The import failed. Try it again.'
  return { format: diskFormat ?? '', checks: [], refusal: { check: 'import', message } }
}
