/**
 * Takes an image's bytes as they arrive: to a file, sparse where they are zeros, and to two hashes on threads of their
 * own, all at once and in a fixed amount of memory. Nothing of it knows where the bytes come from.
 *
 *   chunk ─► a slot of the ring ─┬─► file      a slot is used again when all three are done with it
 *                                ├─► MD5
 *                                └─► SHA-512
 */
import { createHash } from 'node:crypto'
import { type FileHandle, open } from 'node:fs/promises'
import { HashThread, type ImageHashes } from './hashing.ts'

const SLOT_BYTES = 1024 * 1024
const SLOTS = 4
/** Zeros are looked for in pieces of this size: the clusters of QCOW2, and a multiple of any file system's blocks. */
const BLOCK_BYTES = 64 * 1024
const ZEROS = Buffer.alloc(BLOCK_BYTES)
/**
 * The system keeps what is written at once as one piece of memory. On virtual machines that give unused memory back to
 * their host, larger pieces must be asked for anew: five times the processor time.
 */
const WRITE_BYTES = 256 * 1024
/** After so many written bytes the disk is told to begin: else it would begin with all of them at the end. */
const FLUSH_EVERY_BYTES = 32 * 1024 * 1024

/** There is no room for the bytes. */
export class NoRoomError extends Error {
  override readonly name = 'NoRoomError'
}

export interface Received {
  sizeBytes: number
  hashes: ImageHashes
}

/** One file that arrives. Disposing it closes the file and leaves it. */
export class ImageReceiver implements AsyncDisposable {
  readonly #file: FileHandle
  readonly #ring = new SharedArrayBuffer(SLOT_BYTES * SLOTS)
  readonly #bytes = Buffer.from(this.#ring)
  /** What each slot still waits for. */
  readonly #busy: Promise<void>[] = Array.from({ length: SLOTS }, () => Promise.resolve())
  #threads: { md5: HashThread; sha512: HashThread } | undefined
  #slot = 0
  #filled = 0
  /** Where the slot being filled will lie in the file. */
  #position = 0
  #failure: Error | undefined
  #unflushedBytes = 0
  /** What is being brought to the disk while more arrives. */
  #flush: Promise<void> | undefined

  private constructor(file: FileHandle) {
    this.#file = file
  }

  /** Begins a file; one of that name is replaced. @throws Error of the system. */
  static async begin(path: string): Promise<ImageReceiver> {
    return new ImageReceiver(await open(path, 'w', 0o644))
  }

  /**
   * Goes on with a file that was parked; its bytes are hashed anew, from the disk.
   * @param sizeBytes how many it had then.
   * @throws Error of the system; Error when the file is another.
   */
  static async resume(path: string, sizeBytes: number): Promise<ImageReceiver> {
    const receiver = new ImageReceiver(await open(path, 'r+'))
    try {
      await receiver.#readAgain(sizeBytes)
      return receiver
    } catch (error) {
      await receiver[Symbol.asyncDispose]()
      throw error
    }
  }

  async #readAgain(sizeBytes: number): Promise<void> {
    const { size } = await this.#file.stat()
    if (size !== sizeBytes) throw new Error(`a parked image has ${size} bytes instead of ${sizeBytes}`)
    while (this.sizeBytes < sizeBytes) {
      const at = this.#slot * SLOT_BYTES + this.#filled
      const length = Math.min(SLOT_BYTES - this.#filled, sizeBytes - this.sizeBytes)
      const { bytesRead } = await this.#file.read(this.#bytes, at, length, this.sizeBytes)
      if (bytesRead === 0) throw new Error('a parked image became shorter while it was read')
      this.#filled += bytesRead
      // What does not fill a slot is written once more, with what follows.
      if (this.#filled === SLOT_BYTES) await this.#next({ isWritten: true })
    }
    if (this.#failure) throw this.#failure
  }

  /**
   * Leaves all that was taken in the file, for `resume`, and lets go of the file, the memory and the threads.
   * @throws NoRoomError; Error of the system.
   */
  async park(): Promise<void> {
    try {
      await this.#write(
        this.#bytes.subarray(this.#slot * SLOT_BYTES, this.#slot * SLOT_BYTES + this.#filled),
        this.#position,
      )
      await Promise.all(this.#busy)
      if (this.#failure) throw this.#failure
      await this.#file.truncate(this.sizeBytes)
    } catch (error) {
      throw inOurTerms(error)
    } finally {
      await this[Symbol.asyncDispose]()
    }
  }

  /** Bytes that were taken. */
  get sizeBytes(): number {
    return this.#position + this.#filled
  }

  /**
   * Takes the next bytes; resolves when it can take more.
   * @throws NoRoomError; Error of the system.
   */
  async take(chunk: Buffer): Promise<void> {
    for (let done = 0; done < chunk.length; ) {
      const length = Math.min(chunk.length - done, SLOT_BYTES - this.#filled)
      chunk.copy(this.#bytes, this.#slot * SLOT_BYTES + this.#filled, done, done + length)
      this.#filled += length
      done += length
      if (this.#filled === SLOT_BYTES) await this.#next()
    }
    if (this.#failure) throw this.#failure
  }

  /** Hands the slot over and waits for the one after it. */
  async #next({ isWritten = false } = {}): Promise<void> {
    this.#threads ??= { md5: new HashThread('md5', this.#ring), sha512: new HashThread('sha512', this.#ring) }
    const { md5, sha512 } = this.#threads
    const [from, length, position] = [this.#slot * SLOT_BYTES, this.#filled, this.#position]
    this.#busy[this.#slot] = Promise.all([
      md5.update(from, length),
      sha512.update(from, length),
      isWritten ? undefined : this.#write(this.#bytes.subarray(from, from + length), position),
    ]).then(
      () => {},
      (error) => {
        this.#failure ??= inOurTerms(error)
      },
    )
    this.#position += length
    this.#filled = 0
    this.#slot = (this.#slot + 1) % SLOTS
    this.#flushSome()
    await this.#busy[this.#slot]
  }

  /** One at a time, and nobody waits for it before the end: the disk works while bytes come. */
  #flushSome(): void {
    if (this.#flush || this.#unflushedBytes < FLUSH_EVERY_BYTES) return
    this.#unflushedBytes = 0
    this.#flush = this.#file
      .datasync()
      .catch((error) => {
        // The system says once only that bytes were lost.
        this.#failure ??= inOurTerms(error)
      })
      .finally(() => {
        this.#flush = undefined
      })
  }

  /** Writes what is not zero: the file has holes where it was never written. */
  async #write(bytes: Buffer, position: number): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      const end = endOfRun(bytes, at)
      if (!isZeros(bytes, at)) await this.#writeAll(bytes.subarray(at, end), position + at)
      at = end
    }
  }

  async #writeAll(bytes: Buffer, position: number): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const length = Math.min(WRITE_BYTES, bytes.length - done)
      done += (await this.#file.write(bytes, done, length, position + done)).bytesWritten
    }
    this.#unflushedBytes += bytes.length
  }

  /**
   * The file is complete, and lasting.
   * @throws NoRoomError; Error of the system.
   */
  async finish(): Promise<Received> {
    const sizeBytes = this.sizeBytes
    const hashes = this.#threads ? await this.#finishThreads(this.#threads) : await this.#finishSmall()
    await this.#flush
    if (this.#failure) throw this.#failure
    try {
      await this.#file.truncate(sizeBytes)
      await this.#file.sync()
    } catch (error) {
      throw inOurTerms(error)
    }
    return { sizeBytes, hashes }
  }

  async #finishThreads({ md5, sha512 }: { md5: HashThread; sha512: HashThread }): Promise<ImageHashes> {
    if (this.#filled > 0) await this.#next()
    await Promise.all(this.#busy)
    if (this.#failure) throw this.#failure
    const [md5Digest, sha512Digest] = await Promise.all([md5.digest(), sha512.digest()])
    return { md5: md5Digest, sha512: sha512Digest }
  }

  /** What fits into one slot is not worth two threads. */
  async #finishSmall(): Promise<ImageHashes> {
    const bytes = this.#bytes.subarray(0, this.#filled)
    try {
      await this.#write(bytes, 0)
    } catch (error) {
      throw inOurTerms(error)
    }
    const hash = (algorithm: string) => createHash(algorithm).update(bytes).digest('hex')
    return { md5: hash('md5'), sha512: hash('sha512') }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#busy, this.#flush])
    this.#threads?.md5[Symbol.dispose]()
    this.#threads?.sha512[Symbol.dispose]()
    await this.#file.close()
  }
}

/** Where the blocks end that are like the one at `at`: all zeros, or all not. */
function endOfRun(bytes: Buffer, at: number): number {
  const kind = isZeros(bytes, at)
  let end = at + BLOCK_BYTES
  while (end < bytes.length && isZeros(bytes, end) === kind) end += BLOCK_BYTES
  return Math.min(end, bytes.length)
}

function isZeros(bytes: Buffer, at: number): boolean {
  const length = Math.min(BLOCK_BYTES, bytes.length - at)
  return bytes.compare(ZEROS, 0, length, at, at + length) === 0
}

function inOurTerms(error: unknown): Error {
  const { code } = error as NodeJS.ErrnoException
  if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG') {
    return new NoRoomError('There is not enough room for the image.', { cause: error })
  }
  return error as Error
}
