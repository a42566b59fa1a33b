import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import type { ByteSource } from './byte-source.ts'

/**
 * The bytes of a file; close it by disposing it. Never follows a link and never waits for a pipe.
 * @throws Error of the system when it cannot be opened; Error when it is no regular file.
 */
export async function openFileSource(path: string): Promise<ByteSource & AsyncDisposable> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  try {
    const status = await file.stat()
    if (!status.isFile()) throw new Error(`${path} is no regular file`)
    return {
      sizeBytes: status.size,
      async read(offset, length) {
        const buffer = Buffer.alloc(length)
        let filled = 0
        while (filled < length) {
          const { bytesRead } = await file.read(buffer, filled, length - filled, offset + filled)
          if (bytesRead === 0) break
          filled += bytesRead
        }
        return buffer.subarray(0, filled)
      },
      [Symbol.asyncDispose]: () => file.close(),
    }
  } catch (error) {
    await file.close()
    throw error
  }
}
