/**
 * Bases: disks of images and of snapshots, which never change, and which volumes and servers lean on. Who leans on what
 * is told by the headers of the disks alone; there are no counts that could be wrong.
 */
import { readdir, readlink, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { HostError } from '../host-driver.ts'
import { readQcow2Header } from '../qemu/qcow2-header.ts'
import { DISK_FILE, type DiskShelf, isMarkedRemoved, isUnfinished, markRemoved } from './disk-shelf.ts'

export type BaseRef = { kind: 'image'; imageId: string } | { kind: 'snapshot'; snapshotId: string }

export interface BaseShelves {
  images: DiskShelf
  snapshots: DiskShelf
  volumes: DiskShelf
  serversDir: string
}

/**
 * An image's directory may be a link to a build of it beside, of this name: `ID.3f2a…`. Overlays name the build, so that
 * placing a newer one changes nothing below the disks that exist.
 */
export const isBuildOf = (name: string, imageId: string): boolean =>
  name.startsWith(`${imageId}.`) && /^[0-9a-f]+$/.test(name.slice(imageId.length + 1))

export class Bases {
  readonly #shelves: BaseShelves
  /** Directories of bases that a disk is being made of right now, each as often. */
  readonly #inUse = new Map<string, number>()

  constructor(shelves: BaseShelves) {
    this.#shelves = shelves
  }

  /**
   * Makes something that leans on a base, which stays meanwhile.
   * @throws HostError `noImage`, `noDisk` when it is not there, or was removed.
   */
  async use<T>(ref: BaseRef, work: (base: { file: string; virtualBytes: number }) => Promise<T>): Promise<T> {
    const directory = await this.#directoryOf(ref)
    this.#inUse.set(directory, (this.#inUse.get(directory) ?? 0) + 1)
    try {
      const file = join(directory, DISK_FILE)
      return await work({ file, virtualBytes: await demandBase(directory, ref.kind) })
    } finally {
      const others = (this.#inUse.get(directory) ?? 1) - 1
      if (others > 0) this.#inUse.set(directory, others)
      else this.#inUse.delete(directory)
      await this.collect(directory)
    }
  }

  /** The newest build of an image counts for whatever begins now. */
  async #directoryOf(ref: BaseRef): Promise<string> {
    if (ref.kind === 'snapshot') return this.#shelves.snapshots.directory(ref.snapshotId)
    const directory = imageDirectory(this.#shelves.images, ref.imageId)
    const target = await readlink(directory).catch(() => ref.imageId)
    return isBuildOf(target, ref.imageId) ? join(this.#shelves.images.path, target) : directory
  }

  /** The base below a disk, where it lies in this data directory; undefined when it leans on nothing, or is not there. */
  async baseOf(disk: string): Promise<string | undefined> {
    const header = await readQcow2Header(disk).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined
      throw error
    })
    return header?.backingFile === undefined ? undefined : this.#locate(header.backingFile)
  }

  /** Only the last names of a path count, so that a data directory may be moved. */
  #locate(backingFile: string): string {
    const directory = dirname(backingFile)
    const { images, snapshots } = this.#shelves
    const shelf = basename(dirname(directory)) === basename(snapshots.path) ? snapshots : images
    return shelf.file(basename(directory))
  }

  /** The base can be used no more, and goes as soon as nothing leans on it. */
  async removeSnapshot(snapshotId: string): Promise<void> {
    const directory = this.#shelves.snapshots.directory(snapshotId)
    await markRemoved(directory)
    await this.collect(directory)
  }

  /** As `removeSnapshot`, with all builds of the image. */
  async removeImage(imageId: string): Promise<void> {
    const { images } = this.#shelves
    const own = imageDirectory(images, imageId)
    const link = await readlink(own).catch(() => undefined)
    const builds = (await images.list())
      .filter((name) => isBuildOf(name, imageId))
      .map((name) => join(images.path, name))
    for (const build of builds) await markRemoved(build)
    // A link is not followed: what it leads to may not be ours. Nothing leans on the name of one that leads to a build.
    if (link === undefined) await markRemoved(own)
    else if (!(await this.#leaning()).has(own)) await rm(own, { force: true })
    for (const directory of [...builds, ...(link === undefined ? [own] : [])]) await this.collect(directory)
  }

  /** Takes a base away that was removed and that nothing leans on. */
  async collect(directory: string): Promise<void> {
    if (!isMarkedRemoved(directory) || this.#inUse.has(directory)) return
    const leaning = await this.#leaning()
    // Somebody may have begun to use it meanwhile.
    if (leaning.has(directory) || this.#inUse.has(directory)) return
    await rm(directory, { recursive: true, force: true })
  }

  /** As `collect`, for the base that a disk which is gone leaned on. */
  async collectBase(file: string | undefined): Promise<void> {
    if (file !== undefined) await this.collect(dirname(file))
  }

  /** All of them: whoever removed the last disk may have been killed before its base went too. */
  async collectAll(): Promise<void> {
    for (const shelf of [this.#shelves.images, this.#shelves.snapshots]) {
      for (const id of await shelf.list()) await this.collect(shelf.directory(id))
    }
  }

  /** The directories of all bases that disks lean on. */
  async #leaning(): Promise<Set<string>> {
    const { volumes, serversDir } = this.#shelves
    const directories = new Set<string>()
    for (const shelf of [volumes.path, serversDir]) {
      for (const owner of await readdir(shelf).catch(() => [])) {
        const names = (await readdir(join(shelf, owner)).catch(() => [])).filter((name) => name.includes('.qcow2'))
        for (const name of names) {
          const base = await this.baseOf(join(shelf, owner, name)).catch((error: unknown) => {
            // What leans on a base that is being used is not looked at here; see `use`.
            if (isUnfinished(name)) return undefined
            throw error
          })
          if (base !== undefined) directories.add(dirname(base))
        }
      }
    }
    return directories
  }
}

/** @throws HostError `noImage` for an id that is no name of a file. */
function imageDirectory(images: DiskShelf, imageId: string): string {
  try {
    return images.directory(imageId)
  } catch (cause) {
    throw new HostError('noImage', 'The image is not on this host.', { cause })
  }
}

/** The size of a base that can be used. */
async function demandBase(directory: string, kind: BaseRef['kind']): Promise<number> {
  const file = join(directory, DISK_FILE)
  try {
    if (isMarkedRemoved(directory)) throw new Error(`${directory} was removed`)
    const header = await readQcow2Header(file)
    if (header.backingFile !== undefined || header.hasDataFile) throw new Error(`${file} leans on another file`)
    return header.virtualBytes
  } catch (cause) {
    if (kind === 'image') throw new HostError('noImage', 'The image is not on this host.', { cause })
    throw new HostError('noDisk', 'The snapshot is not on this host.', { cause })
  }
}
