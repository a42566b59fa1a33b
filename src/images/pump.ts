import type { Readable } from 'node:stream'
import type { UploadSession } from './image-uploads.ts'
import { UploadAbortedError } from './image-uploads.ts'
import type { ImageReceiver } from './receive-image.ts'

/** How long the other side may be silent, in milliseconds. However slow it is, as long as bytes come they are taken. */
export const SILENCE_MS = 60_000

/** Nothing came for too long. */
export class StalledError extends Error {
  override readonly name = 'StalledError'
}

/** More comes than there may be. */
export class TooManyBytesError extends Error {
  override readonly name = 'TooManyBytesError'
}

/**
 * Gives a receiver all that a stream has. What is left of the stream when this ends early stays in it: to destroy it
 * would take the connection away, and the answer with it.
 * @param session its `interrupt` ends the wait for the next bytes.
 * @param limitBytes what the receiver may have in all.
 * @throws StalledError, TooManyBytesError, UploadAbortedError; what the stream and the receiver throw.
 */
export async function pump(
  body: Readable,
  session: Pick<UploadSession, 'interrupt' | 'isAborted'>,
  receiver: ImageReceiver,
  limitBytes: number,
): Promise<void> {
  const chunks = body.iterator({ destroyOnReturn: false })
  const silence = setTimeout(
    () => session.interrupt?.(new StalledError(`No data came for ${SILENCE_MS / 1000} seconds.`)),
    SILENCE_MS,
  )
  try {
    for (;;) {
      if (session.isAborted) throw new UploadAbortedError()
      const { done, value } = await new Promise<IteratorResult<Buffer>>((resolve, reject) => {
        session.interrupt = reject
        chunks.next().then(resolve, reject)
      })
      if (done) return
      if (receiver.sizeBytes + value.length > limitBytes) {
        throw new TooManyBytesError(`More than ${limitBytes} bytes come; this image may have no more.`)
      }
      await receiver.take(value)
      silence.refresh()
    }
  } finally {
    clearTimeout(silence)
    session.interrupt = undefined
  }
}
