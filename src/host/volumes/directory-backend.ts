/**
 * Volumes, snapshots and images as qcow2 files below a data directory. The files are the whole truth: there is no list
 * of them and no memory, so that a process killed anywhere leaves a disk that is there or one that is not.
 *
 *   images/ID/disk.qcow2      a base; `disk.raw` the same beside it where an image is to be raw; `boot-file` beside or instead for a kernel or an initial RAM disk
 *   snapshots/ID/disk.qcow2   a base, flattened
 *   volumes/ID/disk.qcow2     a volume: stands alone, or leans on a base
 */
import { stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { HostError } from '../host-driver.ts'
import { demandSpace } from '../qemu/host-facts.ts'
import { rejectAsHostError } from '../qemu/host-failure.ts'
import { KeyedLock } from '../qemu/keyed-lock.ts'
import { readQcow2Header } from '../qemu/qcow2-header.ts'
import {
  type ImageFile,
  type ImageFormat,
  type ImageOrigin,
  type ImagePlan,
  STANDING_IMAGE,
  type StoredDisks,
  type VolumePlan,
  type VolumeSource,
} from '../volume-host.ts'
import { Bases } from './bases.ts'
import { DiskShelf, isMarkedRemoved } from './disk-shelf.ts'
import { ensureConverted } from './image-maker.ts'
import { convertToRaw, createDisk, createOverlay, flattenDisk, growDisk, SPACE_TO_SPARE_BYTES } from './qemu-img.ts'
import type { DiskUsers, StoredVolume, VolumeBackend } from './volume-backend.ts'

const GIB = 1024 ** 3
const RAW_FILE = 'disk.raw'

export interface DirectoryBackendOptions {
  /** Absolute; `volumes/`, `snapshots/` and `servers/` are below it. */
  dataDir: string
  /** Absolute. */
  imagesDir: string
  qemuImg: string
  /** Whom uploaded images are converted as. */
  user: { uid: number; gid: number }
  users: DiskUsers
}

const noDisk = (): HostError => new HostError('noDisk', 'The disk is missing on its host.')

export class DirectoryBackend implements VolumeBackend {
  readonly bases: Bases
  readonly #images: DiskShelf
  readonly #snapshots: DiskShelf
  readonly #volumes: DiskShelf
  readonly #options: DirectoryBackendOptions
  readonly #locks = new KeyedLock()
  /** Files of disks that are being copied, which may take long. */
  readonly #copied = new Set<string>()

  constructor(options: DirectoryBackendOptions) {
    const { dataDir, imagesDir } = options
    this.#options = options
    this.#images = new DiskShelf(imagesDir, 0o644)
    this.#snapshots = new DiskShelf(join(dataDir, 'snapshots'), 0o644)
    this.#volumes = new DiskShelf(join(dataDir, 'volumes'), 0o600)
    const [images, snapshots, volumes] = [this.#images, this.#snapshots, this.#volumes]
    this.bases = new Bases({ images, snapshots, volumes, serversDir: join(dataDir, 'servers') })
  }

  async start(): Promise<void> {
    for (const shelf of [this.#images, this.#snapshots, this.#volumes]) await shelf.start()
    await this.bases.collectAll()
  }

  async ensureImage(image: ImagePlan): Promise<void> {
    const { qemuImg, user } = this.#options
    await this.#run(`image ${image.imageId}`, async () => {
      await this.#demandNewImage(image.imageId)
      await ensureConverted(image, this.#images, { qemuImg, user })
    })
  }

  /** What is there is an image's own, and not that of an earlier one of the same id. */
  async #demandNewImage(imageId: string): Promise<void> {
    const directory = this.#images.directory(imageId)
    await this.bases.collect(directory)
    if (isMarkedRemoved(directory)) throw new HostError('badImage', STANDING_IMAGE)
  }

  async removeImage(imageId: string): Promise<void> {
    await this.#run(`image ${imageId}`, () => this.bases.removeImage(imageId))
  }

  async ensureImageOf(imageId: string, origin: ImageOrigin, format: ImageFormat = 'qcow2'): Promise<ImageFile> {
    return await this.#run(`image ${imageId}`, async () => {
      await this.#demandNewImage(imageId)
      if (!this.#images.has(imageId)) {
        const file = await this.#fileOf(origin)
        const copy = () => this.#images.make(imageId, (unfinished) => this.#copy(file, unfinished))
        if (origin.kind === 'volume') await this.#locks.run(origin.volumeId, copy)
        else await copy()
      }
      const disk = this.#images.file(imageId)
      const { virtualBytes } = await readQcow2Header(disk)
      const file = format === 'raw' ? await this.#ensureRaw(imageId, disk) : disk
      return { file, sizeBytes: (await stat(file)).size, virtualBytes }
    })
  }

  /** What an image that was made here holds, as raw bytes beside it; what is empty takes no room. */
  async #ensureRaw(imageId: string, disk: string): Promise<string> {
    const raw = join(this.#images.directory(imageId), RAW_FILE)
    if (await exists(raw)) return raw
    await demandSpace(this.#images.path, (await usedBytes(disk)) + SPACE_TO_SPARE_BYTES)
    const convert = (target: string) => convertToRaw(this.#options.qemuImg, disk, target)
    await this.#images.make(imageId, convert, RAW_FILE)
    return raw
  }

  async #fileOf(origin: ImageOrigin): Promise<string> {
    if (origin.kind === 'volume') return this.#volumes.file(origin.volumeId)
    const file = await this.#options.users.bootDisk(origin.serverId)
    if (file === undefined) throw noDisk()
    return file
  }

  async ensureVolume({ volumeId, sizeGib, source }: VolumePlan): Promise<void> {
    await this.#run(volumeId, async () => {
      if (this.#volumes.has(volumeId)) return
      await this.#make(volumeId, sizeGib * GIB, source)
    })
  }

  async #make(volumeId: string, bytes: number, source: VolumeSource | null): Promise<void> {
    const { qemuImg } = this.#options
    if (source === null) {
      await this.#volumes.make(volumeId, (file) => createDisk(file, bytes))
    } else if (source.kind === 'volume') {
      const other = source.volumeId
      // Asked before it is waited for: two that wait for each other cannot both be missing.
      if (!this.#volumes.has(other)) throw noDisk()
      await this.#locks.run(other, () =>
        this.#volumes.make(volumeId, async (file) => {
          await this.#copy(this.#volumes.file(other), file)
          if ((await readQcow2Header(file)).virtualBytes < bytes) await growDisk(qemuImg, file, bytes)
        }),
      )
    } else {
      await this.bases.use(source, async (base) => {
        const size = Math.max(bytes, base.virtualBytes)
        await this.#volumes.make(volumeId, (file) => createOverlay(file, base.file, size))
      })
    }
  }

  /** Writes what a disk holds into a new file, flattened: by whoever has it open, or of the files themselves. */
  async #copy(from: string, target: string): Promise<void> {
    if (this.#copied.has(from)) throw isCopied()
    this.#copied.add(from)
    try {
      const base = await this.#readBase(from)
      await demandSpace(dirname(target), (await usedBytes(from, base)) + SPACE_TO_SPARE_BYTES)
      const user = await this.#options.users.find(from)
      if (await user?.copyTo(target)) return
      await flattenDisk(this.#options.qemuImg, { file: from, base }, target)
    } finally {
      this.#copied.delete(from)
    }
  }

  /** @throws HostError `noDisk`. */
  async #readBase(file: string): Promise<string | undefined> {
    if (!(await exists(file))) throw noDisk()
    return await this.bases.baseOf(file)
  }

  async removeVolume(volumeId: string): Promise<void> {
    await this.#run(volumeId, async () => {
      const file = this.#volumes.file(volumeId)
      await this.#demandFree(file)
      // A header that a killed process left unreadable keeps nothing.
      const base = await this.bases.baseOf(file).catch(() => undefined)
      await this.#volumes.remove(volumeId)
      await this.bases.collectBase(base)
    })
  }

  /** @throws HostError `running` while a guest has the disk. */
  async #demandFree(file: string): Promise<void> {
    if (await this.#options.users.find(file)) throw new HostError('running', 'A server has the volume.')
  }

  async ensureVolumeSize(volumeId: string, sizeGib: number): Promise<void> {
    const bytes = sizeGib * GIB
    await this.withVolume(volumeId, async ({ file }) => {
      // What a guest writes next counts too, but a disk that is larger than its host is the rule.
      await demandSpace(dirname(file), SPACE_TO_SPARE_BYTES)
      const user = await this.#options.users.find(file)
      if (await user?.growTo(bytes)) return
      if ((await readQcow2Header(file)).virtualBytes < bytes) await growDisk(this.#options.qemuImg, file, bytes)
    })
  }

  async ensureSnapshot(snapshotId: string, volumeId: string): Promise<void> {
    await this.#run(volumeId, async () => {
      if (this.#snapshots.has(snapshotId)) return
      const from = this.#volumes.file(volumeId)
      await this.#snapshots.make(snapshotId, (file) => this.#copy(from, file))
    })
  }

  async removeSnapshot(snapshotId: string): Promise<void> {
    await this.#run(`snapshot ${snapshotId}`, () => this.bases.removeSnapshot(snapshotId))
  }

  async resetVolume(volumeId: string, source: VolumeSource): Promise<void> {
    await this.withVolume(volumeId, async ({ file, base }) => {
      await this.#demandFree(file)
      await this.#make(volumeId, (await readQcow2Header(file)).virtualBytes, source)
      await this.bases.collectBase(base)
    })
  }

  /**
   * Does something with a volume that nobody else touches meanwhile, as giving it to a guest.
   * @throws HostError `noDisk`; `unreachable` while it is being copied, which may take long.
   */
  async withVolume<T>(volumeId: string, work: (volume: StoredVolume) => Promise<T>): Promise<T> {
    const file = this.#volumes.file(volumeId)
    this.demandNotCopied(file)
    return await this.#run(volumeId, async () => await work({ file, base: await this.#readBase(file) }))
  }

  /** @throws HostError `unreachable` while the disk in this file is being copied. */
  demandNotCopied(file: string): void {
    if (this.#copied.has(file)) throw isCopied()
  }

  async readDisks(): Promise<StoredDisks> {
    const [images, volumeIds, snapshotIds] = await Promise.all(
      [this.#images, this.#volumes, this.#snapshots].map((shelf) => shelf.list()),
    )
    // A build of an image is not another image.
    const imageIds = new Set((images ?? []).map((name) => name.split('.', 1)[0] ?? name))
    return { imageIds: [...imageIds], volumeIds: volumeIds ?? [], snapshotIds: snapshotIds ?? [] }
  }

  async #run<T>(key: string, work: () => Promise<T>): Promise<T> {
    return await this.#locks.run(key, () => work().catch(rejectAsHostError))
  }
}

const isCopied = (): HostError => new HostError('unreachable', 'The disk is being copied.')

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return false
      throw error
    },
  )

/** What a disk and its base take on the disk of the host: what a copy of it takes at most. */
async function usedBytes(...paths: (string | undefined)[]): Promise<number> {
  const sizes = paths.map(async (path) => (path === undefined ? 0 : (await stat(path)).blocks * 512))
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0)
}
