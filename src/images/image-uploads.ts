import { ApiError } from '../http/api-error.ts'
import type { ImageReceiver } from './receive-image.ts'

/** Places for images that arrive: each holds a few MiB and two threads. */
const MOST = 32
const MOST_PER_PROJECT = 8

/**
 * One image that arrives, perhaps by several requests one after another. It has a place while it has a receiver or is
 * busy; of one that waits longer for its next part, only the file is left.
 */
export interface UploadSession {
  readonly imageId: string
  readonly projectId: string
  /** Undefined until the file is begun, and while it is parked. */
  receiver: ImageReceiver | undefined
  /** How many bytes the file has of which the place was given up. */
  parkedBytes: number
  /** Until the place is free. */
  parking: Promise<void> | undefined
  /** As its client announced it; undefined: whatever comes. */
  totalBytes: number | undefined
  /** Whether a request is at work on it; if not, it waits for the next. */
  isBusy: boolean
  /** The image was deleted, or Novella stops. */
  isAborted: boolean
  /** Ends the wait for the next bytes. */
  interrupt: ((reason: Error) => void) | undefined
  /** Ends the wait for the next request. */
  cancelExpiry: (() => void) | undefined
}

/** Bytes of it that are here. */
export const bytesOf = ({ receiver, parkedBytes }: UploadSession): number => receiver?.sizeBytes ?? parkedBytes

const hasPlace = ({ isBusy, receiver }: UploadSession): boolean => isBusy || receiver !== undefined

/** Which images arrive in this process. What a process leaves behind that dies is found at the next start. */
export class ImageUploads implements AsyncDisposable {
  readonly #sessions = new Map<string, UploadSession>()

  find(imageId: string): UploadSession | undefined {
    return this.#sessions.get(imageId)
  }

  /** Whether so many images arrive that the project must wait with one more. */
  isCrowded(projectId: string): boolean {
    const placed = [...this.#sessions.values()].filter(hasPlace)
    return placed.length >= MOST || placed.filter((one) => one.projectId === projectId).length >= MOST_PER_PROJECT
  }

  /** @throws ApiError rateLimited when the project must wait with one more. */
  demandPlace(projectId: string): void {
    if (!this.isCrowded(projectId)) return
    throw new ApiError('rateLimited', 'Too many images are being uploaded at once. Try again when one is done.', {
      headers: { 'retry-after': '10' },
    })
  }

  /** Bytes of a project's images that are here and not active yet, without those of one image. */
  arrivingBytes(projectId: string, exceptImageId: string): number {
    return [...this.#sessions.values()]
      .filter((one) => one.projectId === projectId && one.imageId !== exceptImageId)
      .reduce((sum, one) => sum + bytesOf(one), 0)
  }

  /** @throws ApiError conflictingRequest when the image arrives already; rateLimited when too many do. */
  begin(imageId: string, projectId: string): UploadSession {
    if (this.#sessions.has(imageId)) {
      throw new ApiError('conflictingRequest', `The data of image ${imageId} are being uploaded already.`)
    }
    this.demandPlace(projectId)
    const session: UploadSession = {
      imageId,
      projectId,
      receiver: undefined,
      parkedBytes: 0,
      parking: undefined,
      totalBytes: undefined,
      isBusy: true,
      isAborted: false,
      interrupt: undefined,
      cancelExpiry: undefined,
    }
    this.#sessions.set(imageId, session)
    return session
  }

  /**
   * Gives up the place of one that waits, and keeps its file.
   * @throws NoRoomError; Error of the system.
   */
  async park(session: UploadSession): Promise<void> {
    const { receiver } = session
    if (!receiver) return
    session.parkedBytes = receiver.sizeBytes
    session.receiver = undefined
    const parking = receiver.park()
    // Whoever goes on with it waits, and sees by the file whether it went well.
    session.parking = parking.catch(() => {})
    await parking
  }

  /** Closes its file; nobody else can begin another yet. */
  async close(session: UploadSession): Promise<void> {
    session.cancelExpiry?.()
    const { receiver } = session
    session.receiver = undefined
    session.parkedBytes = 0
    await session.parking
    await receiver?.[Symbol.asyncDispose]()
  }

  /** Forgets a session, its file closed. */
  async end(session: UploadSession): Promise<void> {
    await this.close(session)
    if (this.#sessions.get(session.imageId) === session) this.#sessions.delete(session.imageId)
  }

  /** The image is gone: whoever uploads it stops. */
  async abort(imageId: string): Promise<void> {
    const session = this.#sessions.get(imageId)
    if (!session) return
    session.isAborted = true
    session.interrupt?.(new UploadAbortedError())
    if (!session.isBusy) await this.end(session)
  }

  /** Closes all; files that are not whole stay, and go at the next start. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const session of [...this.#sessions.values()]) await this.abort(session.imageId)
  }
}

/** Nobody wants the rest. */
export class UploadAbortedError extends Error {
  override readonly name = 'UploadAbortedError'
}
