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

async function hashHere(path: string): Promise<ImageHashes> {
  const hashes = [createHash('md5'), createHash('sha512')] as const
  await using file = await open(path, 'r')
  let [piece, next] = [Buffer.allocUnsafe(PIECE_BYTES), Buffer.allocUnsafe(PIECE_BYTES)]
  let { bytesRead } = await file.read(piece)
  while (bytesRead > 0) {
    // The next piece is read meanwhile.
    const reading = file.read(next)
    for (const hash of hashes) hash.update(piece.subarray(0, bytesRead))
    bytesRead = (await reading).bytesRead
    ;[piece, next] = [next, piece]
  }
  const [md5, sha512] = hashes
  return { md5: md5.digest('hex'), sha512: sha512.digest('hex') }
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

  [Symbol.dispose](): void {
    void this.#worker.terminate()
  }
}
