import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs'
import type { ServerFiles } from './server-files.ts'

const SCRATCH = Buffer.alloc(64 * 1024)

/**
 * Follows a console as it is written down, from some bytes before its end, across the moments when the log becomes the
 * older one. Whoever reads slower than the guest writes misses what is no longer kept, and is told so; nothing piles up
 * for anybody.
 */
export class ConsoleTail {
  readonly #files: ServerFiles
  #file: number | undefined
  #offset = 0

  constructor(files: ServerFiles, bytesBefore: number) {
    this.#files = files
    const newer = this.#open(files.consoleLog)
    const size = newer === undefined ? 0 : fstatSync(newer).size
    const older = size < bytesBefore ? this.#open(files.olderConsoleLog) : undefined
    if (older === undefined) {
      this.#file = newer
      this.#offset = Math.max(0, size - bytesBefore)
    } else {
      if (newer !== undefined) closeSync(newer)
      this.#file = older
      this.#offset = Math.max(0, fstatSync(older).size - (bytesBefore - size))
    }
  }

  /** What comes next, empty when there is nothing yet. `isCut`: something before it is lost. */
  read(most: number): { bytes: Buffer; isCut: boolean } {
    this.#file ??= this.#open(this.#files.consoleLog)
    const bytes = this.#readOn(most)
    if (bytes.length > 0 || this.#file === undefined) return { bytes, isCut: false }
    const { ino, size } = fstatSync(this.#file)
    if (size < this.#offset) {
      // It was cut in place.
      this.#offset = 0
      return { bytes: this.#readOn(most), isCut: true }
    }
    const inodeOf = (path: string) => statSync(path, { throwIfNoEntry: false })?.ino
    const newer = inodeOf(this.#files.consoleLog)
    if (newer === ino || newer === undefined) return { bytes, isCut: false }
    // The last bytes may have come between the look and the change.
    const rest = this.#readOn(most)
    if (rest.length > 0) return { bytes: rest, isCut: false }
    const isCut = inodeOf(this.#files.olderConsoleLog) !== ino
    this.close()
    this.#file = this.#open(this.#files.consoleLog)
    return { bytes: this.#readOn(most), isCut }
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file)
    this.#file = undefined
    this.#offset = 0
  }

  #readOn(most: number): Buffer {
    if (this.#file === undefined) return Buffer.alloc(0)
    const length = readSync(this.#file, SCRATCH, 0, Math.min(most, SCRATCH.length), this.#offset)
    this.#offset += length
    // A copy as large as it has to be: what waits for a slow reader may be many small pieces.
    return Buffer.from(SCRATCH.subarray(0, length))
  }

  #open(path: string): number | undefined {
    try {
      return openSync(path, 'r')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw error
    }
  }
}
