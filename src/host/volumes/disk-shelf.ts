/**
 * A directory that holds a directory for each disk, named after its id:
 *
 *   SHELF/ID/disk.qcow2              there
 *   SHELF/ID/disk.qcow2.unfinished…  being made; at the next start it goes
 *   SHELF/ID/removed                 a base that was removed while disks lean on it: it can be found no more
 *
 * A disk appears whole or not at all, also after a power cut.
 */
import { existsSync } from 'node:fs'
import { chmod, lstat, mkdir, open, readdir, rename, rm, rmdir, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { syncDirectory } from '../durable-file.ts'

export const DISK_FILE = 'disk.qcow2'
const REMOVED = 'removed'

/** A name that is safe as one part of a path. */
const SAFE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/

/** Whether a file of a shelf, or of a server, is a disk that is still being made. */
export const isUnfinished = (name: string): boolean => name.includes('.unfinished')

export class DiskShelf {
  readonly path: string
  readonly #mode: number

  /** @param mode of the disks: 0o600 for those that are written, 0o644 for bases, which every guest may read. */
  constructor(path: string, mode: number) {
    this.path = path
    this.#mode = mode
  }

  /** Makes the shelf, and clears what was not finished on it. */
  async start(): Promise<void> {
    await mkdir(this.path, { recursive: true })
    await chmod(this.path, 0o711)
    for (const name of await this.list()) await this.#clear(join(this.path, name))
  }

  /** Takes away what is not finished, and the directory when nothing else was in it. */
  async #clear(directory: string): Promise<void> {
    const names = await readdir(directory).catch(() => [])
    for (const name of names.filter(isUnfinished)) await rm(join(directory, name), { force: true })
    if (names.every(isUnfinished) && !(await lstat(directory)).isSymbolicLink()) await removeEmpty(directory)
  }

  /** @throws Error for an id that is no name of a file. */
  directory(id: string): string {
    if (!SAFE_NAME.test(id)) throw new Error(`${id} is no id of a disk`)
    return join(this.path, id)
  }

  file(id: string): string {
    return join(this.directory(id), DISK_FILE)
  }

  /** Whether the disk is there, whole. */
  has(id: string): boolean {
    return existsSync(this.file(id))
  }

  /** Every disk there is a trace of, half-made ones and removed bases too. */
  async list(): Promise<string[]> {
    return (await readdir(this.path).catch(() => [])).filter((name) => SAFE_NAME.test(name))
  }

  /**
   * Makes a disk, or puts another in its place.
   * @param write makes the file of this name, which is not there.
   * @param name what it shall be called, if not as disks are.
   */
  async make(id: string, write: (unfinished: string) => Promise<void>, name = DISK_FILE): Promise<void> {
    const directory = this.directory(id)
    const unfinished = join(directory, `${name}.unfinished`)
    await mkdir(directory, { recursive: true })
    try {
      await chmod(directory, 0o711)
      await rm(unfinished, { force: true })
      await write(unfinished)
      await finishFile(unfinished, join(directory, name), this.#mode)
      await syncDirectory(this.path)
    } catch (error) {
      await rm(unfinished, { force: true })
      await removeEmpty(directory)
      throw error
    }
  }

  async remove(id: string): Promise<void> {
    await rm(this.directory(id), { recursive: true, force: true })
    await syncDirectory(this.path)
  }
}

/** Puts a finished file in its place, lastingly. It is root's. */
export async function finishFile(unfinished: string, path: string, mode: number): Promise<void> {
  await chmod(unfinished, mode)
  {
    await using file = await open(unfinished, 'r')
    await file.sync()
  }
  await rename(unfinished, path)
  await syncDirectory(dirname(path))
}

/** Accepts that something is in it, or that it is gone. */
async function removeEmpty(directory: string): Promise<void> {
  await rmdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (!['ENOENT', 'ENOTEMPTY', 'ENOTDIR'].includes(error.code ?? '')) throw error
  })
}

/** Whether the base in this directory was removed. */
export const isMarkedRemoved = (directory: string): boolean => existsSync(join(directory, REMOVED))

/** Marks the base in this directory as removed, lastingly; accepts that it is gone. */
export async function markRemoved(directory: string): Promise<void> {
  try {
    await writeFile(join(directory, REMOVED), `${basename(directory)} was removed; disks lean on it\n`, { flush: true })
    await syncDirectory(directory)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}
