import { ApiError } from '../http/api-error.ts'
import type { ImageReceiver } from './receive-image.ts'

/** Images arriving at once: each holds a few MiB and two threads. */
const MOST = 32
const MOST_PER_PROJECT = 8

/** One image that arrives, perhaps by several requests one after another. */
export interface UploadSession {
  readonly imageId: string
  readonly projectId: string
  /** Undefined until the file is begun. */
  receiver: ImageReceiver | undefined
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

/** Which images arrive in this process. What a process leaves behind that dies is found at the next start. */
export class ImageUploads implements AsyncDisposable {
  readonly #sessions = new Map<string, UploadSession>()

  find(imageId: string): UploadSession | undefined {
    return this.#sessions.get(imageId)
  }

  /** Whether so many images arrive that the project must wait with one more. */
  isCrowded(projectId: string): boolean {
    const ofProject = [...this.#sessions.values()].filter((one) => one.projectId === projectId).length
    return this.#sessions.size >= MOST || ofProject >= MOST_PER_PROJECT
  }

  /** @throws ApiError conflictingRequest when the image arrives already; rateLimited when too many do. */
  begin(imageId: string, projectId: string): UploadSession {
    if (this.#sessions.has(imageId)) {
      throw new ApiError('conflictingRequest', `The data of image ${imageId} are being uploaded already.`)
    }
    if (this.isCrowded(projectId)) {
      throw new ApiError('rateLimited', 'Too many images are being uploaded at once. Try again when one is done.', {
        headers: { 'retry-after': '10' },
      })
    }
    const session: UploadSession = {
      imageId,
      projectId,
      receiver: undefined,
      totalBytes: undefined,
      isBusy: true,
      isAborted: false,
      interrupt: undefined,
      cancelExpiry: undefined,
    }
    this.#sessions.set(imageId, session)
    return session
  }

  /** Closes its file; nobody else can begin another yet. */
  async close(session: UploadSession): Promise<void> {
    session.cancelExpiry?.()
    const { receiver } = session
    session.receiver = undefined
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
