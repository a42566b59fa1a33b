import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { HostError } from '../host-driver.ts'
import {
  type ImageFile,
  type ImageOrigin,
  type ImagePlan,
  MOST_DISKS,
  type ServerDisk,
  type StoredDisks,
  type VolumePlan,
  type VolumeSource,
} from '../volume-host.ts'
import type { MemoryMachine, MemoryServer } from './memory-driver.ts'

export interface MemoryVolume {
  sizeGib: number
  /** What its bytes came from last; null: it began empty. */
  source: VolumeSource | null
}

const GIB = 1024 ** 3
const noDisk = () => new HostError('noDisk', 'The disk is missing on its host.')

/** The promises of `VolumeHost` without bytes: what exists, how large it is, and which guest has it. */
export class MemoryDisks {
  readonly #machine: MemoryMachine
  readonly #filesDir: string | undefined

  /** @param filesDir where images made of disks are written, since others read those; without it there can be none. */
  constructor(machine: MemoryMachine, filesDir: string | undefined) {
    this.#machine = machine
    this.#filesDir = filesDir
  }

  ensureImage({ imageId }: ImagePlan): void {
    this.#machine.images.add(imageId)
  }

  removeImage(imageId: string): void {
    this.#machine.images.delete(imageId)
  }

  ensureImageOf(imageId: string, origin: ImageOrigin): ImageFile {
    const virtualBytes = this.#sizeOf(origin) * GIB
    if (this.#filesDir === undefined) throw new HostError('missing', 'This host has no place for images.')
    mkdirSync(join(this.#filesDir, imageId), { recursive: true })
    const file = join(this.#filesDir, imageId, 'disk.qcow2')
    const content = `an image of ${JSON.stringify(origin)} in memory\n`
    if (!existsSync(file)) writeFileSync(file, content)
    this.#machine.images.add(imageId)
    return { file, sizeBytes: Buffer.byteLength(content), virtualBytes }
  }

  #sizeOf(origin: ImageOrigin): number {
    if (origin.kind === 'volume') return this.#volume(origin.volumeId).sizeGib
    const server = this.#machine.servers.get(origin.serverId)
    const root = [...(server?.disks.values() ?? [])].find(({ bootIndex }) => bootIndex !== null)
    if (root?.kind === 'volume') return this.#volume(root.diskId).sizeGib
    if (!server?.disk) throw noDisk()
    return server.disk.sizeGib
  }

  ensureVolume({ volumeId, sizeGib, source }: VolumePlan): void {
    if (this.#machine.volumes.has(volumeId)) return
    this.#machine.volumes.set(volumeId, { sizeGib: Math.max(sizeGib, this.#sourceSize(source)), source })
  }

  /** Images are not looked up: those of tests are rows only. */
  #sourceSize(source: VolumeSource | null): number {
    if (source?.kind === 'volume') return this.#volume(source.volumeId).sizeGib
    if (source?.kind !== 'snapshot') return 0
    const snapshot = this.#machine.snapshots.get(source.snapshotId)
    if (!snapshot) throw noDisk()
    return snapshot.sizeGib
  }

  removeVolume(volumeId: string): void {
    this.#demandFree(volumeId)
    this.#machine.volumes.delete(volumeId)
  }

  ensureVolumeSize(volumeId: string, sizeGib: number): void {
    const volume = this.#volume(volumeId)
    volume.sizeGib = Math.max(volume.sizeGib, sizeGib)
  }

  ensureSnapshot(snapshotId: string, volumeId: string): void {
    if (this.#machine.snapshots.has(snapshotId)) return
    this.#machine.snapshots.set(snapshotId, { sizeGib: this.#volume(volumeId).sizeGib })
  }

  removeSnapshot(snapshotId: string): void {
    this.#machine.snapshots.delete(snapshotId)
  }

  resetVolume(volumeId: string, source: VolumeSource): void {
    this.#demandFree(volumeId)
    this.#sourceSize(source)
    this.#volume(volumeId).source = source
  }

  ensureAttached(serverId: string, disk: ServerDisk): void {
    const server = this.#machine.servers.get(serverId)
    if (server?.power !== 'on' || server.disks.has(disk.diskId)) return
    this.#demandUsable(disk)
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

  readDisks(): StoredDisks {
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
