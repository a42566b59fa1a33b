import { IncomingMessage } from 'node:http'
import type { Readable } from 'node:stream'
import type { UploadSession } from './image-uploads.ts'
import { UploadAbortedError } from './image-uploads.ts'
import { type ImageReceiver, NoRoomError } from './receive-image.ts'

/** How long the other side may be silent, in milliseconds. However slow it is, as long as bytes come they are taken. */
export const SILENCE_MS = 60_000

/** After how many bytes it is looked whether there is room for more: others fill the disk too. */
const LOOK_EVERY_BYTES = 8 * 1024 * 1024

/** Nothing came for too long. */
export class StalledError extends Error {
  override readonly name = 'StalledError'
}

/** More comes than there may be. */
export class TooManyBytesError extends Error {
  override readonly name = 'TooManyBytesError'
  /** Asked again, it would be as much. */
  readonly isFinal = true
}

/**
 * Gives a receiver all that a stream has. What is left of the stream when this ends early stays in it: to destroy it
 * would take the connection away, and the answer with it.
 * @param session its `interrupt` ends the wait for the next bytes.
 * @param limits `mostBytes`: what the receiver may have in all; `hasRoom`: whether the disk takes more.
 * @throws StalledError, TooManyBytesError, NoRoomError, UploadAbortedError; what the stream and the receiver throw.
 */
export async function pump(
  body: Readable,
  session: Pick<UploadSession, 'interrupt' | 'isAborted'>,
  receiver: ImageReceiver,
  { mostBytes, hasRoom }: { mostBytes: number; hasRoom: () => Promise<boolean> },
): Promise<void> {
  const chunks = body.iterator({ destroyOnReturn: false })
  const silence = setTimeout(
    () => session.interrupt?.(new StalledError(`No data came for ${SILENCE_MS / 1000} seconds.`)),
    SILENCE_MS,
  )
  let lookAtBytes = receiver.sizeBytes + LOOK_EVERY_BYTES
  try {
    for (;;) {
      if (session.isAborted) throw new UploadAbortedError()
      const { done, value } = await new Promise<IteratorResult<Buffer>>((resolve, reject) => {
        session.interrupt = reject
        chunks.next().then(resolve, reject)
      })
      if (done) return
      if (receiver.sizeBytes + value.length > mostBytes) {
        throw new TooManyBytesError(`More than ${mostBytes} bytes come; this image may have no more.`)
      }
      await receiver.take(value)
      if (body instanceof IncomingMessage) giveBack(value)
      if (receiver.sizeBytes >= lookAtBytes) {
        if (!(await hasRoom())) throw new NoRoomError('There is not enough room for the image.')
        lookAtBytes = receiver.sizeBytes + LOOK_EVERY_BYTES
      }
      silence.refresh()
    }
  } finally {
    clearTimeout(silence)
    session.interrupt = undefined
  }
}

/**
 * Frees what a chunk lies in. HTTP makes memory for each, which is nobody else's, and for every 32 MB of it the
 * collector would look through all that lives: half of what it costs to receive.
 */
function giveBack({ buffer, byteLength }: Buffer): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0)
}
