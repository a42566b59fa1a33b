import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { HostError } from '../host-driver.ts'
import {
  type ImageFile,
  type ImageFormat,
  type ImageOrigin,
  type ImagePlan,
  MOST_DISKS,
  type ServerDisk,
  STANDING_IMAGE,
  type StoredDisks,
  type VolumePlan,
  type VolumeSource,
} from '../volume-host.ts'
import type { VolumeBackend } from '../volumes/volume-backend.ts'
import type { MemoryMachine, MemoryServer } from './memory-machine.ts'

export interface MemoryVolume {
  sizeGib: number
  /** What its bytes came from last; null: it began empty. */
  source: VolumeSource | null
}

const GIB = 1024 ** 3
const noDisk = () => new HostError('noDisk', 'The disk is missing on its host.')

/** The promises of `VolumeHost` without bytes: what exists, how large it is, and which guest has it. */
export class MemoryDisks implements VolumeBackend {
  readonly #machine: MemoryMachine
  readonly #filesDir: string | undefined

  /** @param filesDir where images made of disks are written, since others read those; without it there can be none. */
  constructor(machine: MemoryMachine, filesDir: string | undefined) {
    this.#machine = machine
    this.#filesDir = filesDir
  }

  async start(): Promise<void> {
    this.#collect()
  }

  async ensureImage({ imageId }: ImagePlan): Promise<void> {
    this.#demandNewImage(imageId)
    this.#machine.images.add(imageId)
  }

  #demandNewImage(imageId: string): void {
    this.#collect()
    if (this.#machine.removedBases.has(imageId)) throw new HostError('badImage', STANDING_IMAGE)
  }

  async removeImage(imageId: string): Promise<void> {
    this.#machine.removedBases.add(imageId)
    this.#collect()
  }

  async ensureImageOf(imageId: string, origin: ImageOrigin, format: ImageFormat = 'qcow2'): Promise<ImageFile> {
    if (this.#filesDir === undefined) throw new HostError('missing', 'This host has no place for images.')
    this.#demandNewImage(imageId)
    const file = join(this.#filesDir, imageId, `disk.${format}`)
    if (!existsSync(file)) {
      const virtualBytes = this.#sizeOf(origin) * GIB
      mkdirSync(dirname(file), { recursive: true })
      writeFileSync(file, `${virtualBytes} bytes of ${JSON.stringify(origin)} in memory, as ${format}\n`)
    }
    this.#machine.images.add(imageId)
    const content = readFileSync(file, 'utf8')
    return { file, sizeBytes: content.length, virtualBytes: Number.parseInt(content, 10) }
  }

  #sizeOf(origin: ImageOrigin): number {
    if (origin.kind === 'volume') return this.#volume(origin.volumeId).sizeGib
    const server = this.#machine.servers.get(origin.serverId)
    const root = [...(server?.disks.values() ?? [])].find(({ bootIndex }) => bootIndex !== null)
    if (root?.kind === 'volume') return this.#volume(root.diskId).sizeGib
    if (!server?.disk) throw noDisk()
    return server.disk.sizeGib
  }

  async ensureVolume({ volumeId, sizeGib, source }: VolumePlan): Promise<void> {
    if (this.#machine.volumes.has(volumeId)) return
    this.#machine.volumes.set(volumeId, { sizeGib: Math.max(sizeGib, this.#sourceSize(source)), source })
  }

  /** Images are not looked up: those of tests are rows only. */
  #sourceSize(source: VolumeSource | null): number {
    if (source?.kind === 'volume') return this.#volume(source.volumeId).sizeGib
    if (source?.kind !== 'snapshot') return 0
    const snapshot = this.#machine.snapshots.get(source.snapshotId)
    if (!snapshot || this.#machine.removedBases.has(source.snapshotId)) throw noDisk()
    return snapshot.sizeGib
  }

  /** The server's disk is gone, and with it perhaps the last that leaned on a base. */
  serverIsGone(): void {
    this.#collect()
  }

  /** Takes away removed bases that nothing leans on. */
  #collect(): void {
    const { images, snapshots, volumes, servers, removedBases } = this.#machine
    const leaning = new Set<string | undefined>([...servers.values()].map(({ disk }) => disk?.imageId))
    for (const { source } of volumes.values()) {
      if (source?.kind === 'image') leaning.add(source.imageId)
      if (source?.kind === 'snapshot') leaning.add(source.snapshotId)
    }
    for (const id of removedBases) {
      if (leaning.has(id)) continue
      if (images.delete(id) && this.#filesDir) rmSync(join(this.#filesDir, id), { recursive: true, force: true })
      snapshots.delete(id)
      removedBases.delete(id)
    }
  }

  async removeVolume(volumeId: string): Promise<void> {
    this.#demandFree(volumeId)
    this.#machine.volumes.delete(volumeId)
    this.#collect()
  }

  async ensureVolumeSize(volumeId: string, sizeGib: number): Promise<void> {
    const volume = this.#volume(volumeId)
    volume.sizeGib = Math.max(volume.sizeGib, sizeGib)
  }

  async ensureSnapshot(snapshotId: string, volumeId: string): Promise<void> {
    if (this.#machine.snapshots.has(snapshotId)) return
    this.#machine.snapshots.set(snapshotId, { sizeGib: this.#volume(volumeId).sizeGib })
  }

  async removeSnapshot(snapshotId: string): Promise<void> {
    this.#machine.removedBases.add(snapshotId)
    this.#collect()
  }

  async resetVolume(volumeId: string, source: VolumeSource): Promise<void> {
    const volume = this.#volume(volumeId)
    this.#demandFree(volumeId)
    volume.sizeGib = Math.max(volume.sizeGib, this.#sourceSize(source))
    volume.source = source
    this.#collect()
  }

  ensureAttached(serverId: string, disk: ServerDisk): void {
    const server = this.#machine.servers.get(serverId)
    if (server?.power !== 'on' || server.disks.has(disk.diskId)) return
    this.#demandUsable(disk)
    if (disk.bus === 'ide' || disk.bus === 'sata') {
      throw new HostError('startFailed', 'The server takes no disks on IDE or SATA while it runs.')
    }
    if (server.disks.size >= MOST_DISKS) throw new HostError('startFailed', 'The server takes no more disks.')
    server.disks.set(disk.diskId, disk)
  }

  removeAttached(serverId: string, volumeId: string): void {
    this.#machine.servers.get(serverId)?.disks.delete(volumeId)
  }

  /** What a guest that starts needs of its disks. */
  demandAll(server: MemoryServer | undefined, disks: readonly ServerDisk[]): void {
    if (server?.power === 'on') return
    for (const disk of disks) this.#demandUsable(disk)
  }

  async readDisks(): Promise<StoredDisks> {
    const { images, volumes, snapshots } = this.#machine
    return { imageIds: [...images], volumeIds: [...volumes.keys()], snapshotIds: [...snapshots.keys()] }
  }

  #demandUsable({ kind, diskId }: ServerDisk): void {
    if (kind === 'local') return
    this.#volume(diskId)
    this.#demandFree(diskId)
  }

  #demandFree(volumeId: string): void {
    const holder = [...this.#machine.servers.values()].find(({ disks }) => disks.has(volumeId))
    if (holder) throw new HostError('running', 'A guest has the volume.')
  }

  #volume(volumeId: string): MemoryVolume {
    const volume = this.#machine.volumes.get(volumeId)
    if (!volume) throw noDisk()
    return volume
  }
}
