/** The two hashes that Glance keeps of each image: MD5, which clients still compare, and SHA-512. */
import { createHash } from 'node:crypto'
import { open, stat } from 'node:fs/promises'
import { Worker } from 'node:worker_threads'
import type { HashReply, HashRequest, HashWorkerData } from './hash-worker.ts'

/** Both in hex. */
export interface ImageHashes {
  md5: string
  sha512: string
}

const WORKER = new URL('./hash-worker.ts', import.meta.url)

/** Up to this size a file is hashed here, piece by piece between requests: to start two threads takes longer. */
const HASHED_HERE_BYTES = 64 * 1024 ** 2
/** Hashed twice in some four milliseconds, which nobody notices. */
const PIECE_BYTES = 1024 ** 2

/** The hashes of a whole file; of a large one made on threads. @throws Error of the system when it cannot be read. */
export async function hashFile(file: string): Promise<ImageHashes> {
  if ((await stat(file)).size <= HASHED_HERE_BYTES) return await hashHere(file)
  const [md5, sha512] = await Promise.all([hashOnThread('md5', file), hashOnThread('sha512', file)])
  return { md5, sha512 }
}

/** How long a thread waits for the file it was started for, in milliseconds. */
const WARM_MS = 60_000

interface WarmThread extends Disposable {
  shared: SharedArrayBuffer
  thread: HashThread
}

let warm: (WarmThread & { cool: NodeJS.Timeout }) | undefined

/** Starts a thread for the next small file, while its bytes are still being made: then half of the work is done there. */
export function warmUpHashing(): void {
  if (warm) {
    warm.cool.refresh()
    return
  }
  const shared = new SharedArrayBuffer(2 * PIECE_BYTES)
  const thread = new HashThread('sha512', shared)
  thread.unref()
  const cool = setTimeout(() => takeWarm()?.[Symbol.dispose](), WARM_MS)
  cool.unref()
  warm = { shared, thread, cool, [Symbol.dispose]: () => thread[Symbol.dispose]() }
}

function takeWarm(): WarmThread | undefined {
  const taken = warm
  warm = undefined
  clearTimeout(taken?.cool)
  taken?.thread.ref()
  return taken
}

async function hashHere(path: string): Promise<ImageHashes> {
  using helper = takeWarm()
  const pieces = Buffer.from(helper?.shared ?? new ArrayBuffer(2 * PIECE_BYTES))
  const md5 = createHash('md5')
  const sha512 = createHash('sha512')
  await using file = await open(path, 'r')
  const read = async (at: number) => ({ at, length: (await file.read(pieces, at, PIECE_BYTES)).bytesRead })
  let piece = await read(0)
  while (piece.length > 0) {
    const { at, length } = piece
    const there = helper?.thread.update(at, length)
    // The next piece is read meanwhile.
    const next = read(at === 0 ? PIECE_BYTES : 0)
    const bytes = pieces.subarray(at, at + length)
    md5.update(bytes)
    if (!there) sha512.update(bytes)
    ;[piece] = await Promise.all([next, there])
  }
  return { md5: md5.digest('hex'), sha512: helper ? await helper.thread.digest() : sha512.digest('hex') }
}

function hashOnThread(algorithm: HashWorkerData['algorithm'], file: string): Promise<string> {
  const worker = new Worker(WORKER, { workerData: { algorithm, file } satisfies HashWorkerData })
  return new Promise((resolve, reject) => {
    worker.once('message', (reply: HashReply) => {
      if ('digest' in reply) resolve(reply.digest)
    })
    worker.once('error', reject)
    worker.once('exit', () => reject(new Error(`The thread that hashes ${file} ended.`)))
  })
}

/** One hash of pieces that come one after another, made on a thread of its own. To be disposed. */
export class HashThread implements Disposable {
  readonly #worker: Worker
  /** Who waits for what was asked, in order. */
  readonly #waiting: { resolve: (reply: HashReply) => void; reject: (error: Error) => void }[] = []
  #failure: Error | undefined

  /** @param shared where the pieces will lie. */
  constructor(algorithm: HashWorkerData['algorithm'], shared: SharedArrayBuffer) {
    this.#worker = new Worker(WORKER, { workerData: { algorithm, shared } satisfies HashWorkerData })
    this.#worker.on('message', (reply: HashReply) => this.#waiting.shift()?.resolve(reply))
    const fail = (error: Error) => {
      this.#failure ??= error
      for (const { reject } of this.#waiting.splice(0)) reject(error)
    }
    this.#worker.once('error', fail)
    this.#worker.once('exit', () => fail(new Error('The thread that hashes ended.')))
  }

  /** Takes in a piece; it must stay as it is until this resolves. */
  async update(from: number, length: number): Promise<void> {
    await this.#ask({ from, length })
  }

  /** In hex, of all pieces; nothing more can be asked. */
  async digest(): Promise<string> {
    const reply = await this.#ask(null)
    if (!('digest' in reply)) throw new Error('The thread that hashes answered out of order.')
    return reply.digest
  }

  #ask(request: HashRequest): Promise<HashReply> {
    if (this.#failure) return Promise.reject(this.#failure)
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
      this.#worker.postMessage(request)
    })
  }

  /** Whether the process stays for it. */
  ref(): void {
    this.#worker.ref()
  }

  unref(): void {
    this.#worker.unref()
  }

  [Symbol.dispose](): void {
    void this.#worker.terminate()
  }
}
