/**
 * One hash, on a thread of its own: hashing a gigabyte takes seconds that all other requests would wait. Gets pieces
 * of memory that it shares with whoever receives the bytes, or the name of a file.
 */
import { createHash } from 'node:crypto'
import { closeSync, openSync, readSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'

export interface HashWorkerData {
  algorithm: 'md5' | 'sha512'
  /** Pieces lie in here; absent when a file is hashed. */
  shared?: SharedArrayBuffer
  /** Hash this file, and answer at once. */
  file?: string
}

/** A piece that lies there, or null: the end. Answered by the number of pieces done, or at the end by the digest. */
export type HashRequest = { from: number; length: number } | null
export type HashReply = { done: true } | { digest: string }

const CHUNK_BYTES = 1024 * 1024

const { algorithm, shared, file } = workerData as HashWorkerData
const hash = createHash(algorithm)
const reply = (message: HashReply) => parentPort?.postMessage(message)

if (file !== undefined) {
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES)
  const fd = openSync(file, 'r')
  try {
    for (let length = readSync(fd, chunk); length > 0; length = readSync(fd, chunk)) {
      hash.update(chunk.subarray(0, length))
    }
  } finally {
    closeSync(fd)
  }
  reply({ digest: hash.digest('hex') })
} else {
  const pieces = Buffer.from(shared as SharedArrayBuffer)
  parentPort?.on('message', (request: HashRequest) => {
    if (request === null) {
      reply({ digest: hash.digest('hex') })
      parentPort?.close()
      return
    }
    hash.update(pieces.subarray(request.from, request.from + request.length))
    reply({ done: true })
  })
}
