/** What a new volume is, checked and written; compute makes volumes with it too, and brings their bytes itself. */
import type { Cloud } from '../cloud.ts'
import type { Tx } from '../db/database.ts'
import type { VolumeStatus } from '../db/volume-schema.ts'
import type { VolumeSource } from '../host/volume-host.ts'
import { listHosts } from '../hosts/host-store.ts'
import { ApiError } from '../http/api-error.ts'
import type { Caller } from '../http/policy.ts'
import { findImage, IMAGE_MAPPING, type Image, isOfSnapshots } from '../images/image-store.ts'
import { newId } from '../lib/ids.ts'
import { findSnapshot } from './snapshot-store.ts'
import { assertVolumeQuota, assertVolumeSize, overQuota } from './volume-quotas.ts'
import { findVolume, insertVolume, lockVolume, type Volume } from './volume-store.ts'
import { findType, readDefaultType, type VolumeType } from './volume-type-store.ts'

export interface VolumeWish {
  name?: string | undefined
  description?: string | null | undefined
  /** Undefined: as large as the volume or snapshot it is made from. */
  sizeGib?: number | undefined
  /** Id or name; undefined: that of the source, or the default one. */
  type?: string | undefined
  source?: VolumeSource | null | undefined
  /** Undefined or '': the source's, or that of this cloud. */
  availabilityZone?: string | undefined
  metadata?: Record<string, string> | undefined
  /** An image without bytes stands for the snapshot that servers made from it boot from. */
  takesSnapshotOfImage?: boolean | undefined
}

export interface NewVolumeOptions {
  /** `creating` unless whoever brings the bytes says otherwise. */
  status?: VolumeStatus
  /** When the host is known already: that of the server it is made for. */
  hostName?: string | null
}

/** What the new volume takes over from what it is made from. */
interface Origin {
  /** It may not be smaller. */
  leastGib: number
  sizeGib: number | undefined
  typeId: string | undefined
  availabilityZone: string | undefined
  isBootable: boolean
  imageMetadata: string | null
  columns: Partial<Volume>
}

/**
 * Checks a wish (source, size, type, zone, quota) and writes the row; opens no action.
 * @returns the row as written; its `hostName` is null unless given.
 * @throws ApiError badRequest, itemNotFound (a source or type that is not there), overLimit (quota).
 */
export async function acceptNewVolume(
  cloud: Pick<Cloud, 'config' | 'clock'>,
  tx: Tx,
  caller: Caller,
  wish: VolumeWish,
  { status = 'creating', hostName = null }: NewVolumeOptions = {},
): Promise<Volume> {
  const origin = await readOrigin(tx, caller, wish.source ?? null, wish.takesSnapshotOfImage === true)
  const sizeGib = readSize(wish.sizeGib, origin)
  const type = await readType(cloud, tx, caller, wish.type, origin.typeId)
  const availabilityZone = await readZone(tx, wish.availabilityZone || origin.availabilityZone)
  const metadata = wish.metadata ?? {}
  assertMetadataQuota(cloud, metadata)
  await assertVolumeSize(cloud, tx, caller.projectId, sizeGib)
  await assertVolumeQuota(cloud, tx, caller.projectId, { volumes: 1, gigabytes: sizeGib, typeName: type.name })
  const id = newId()
  await insertVolume(
    tx,
    {
      id,
      projectId: caller.projectId,
      userId: caller.userId,
      name: wish.name ?? '',
      description: wish.description ?? null,
      sizeGib,
      status,
      availabilityZone: availabilityZone || cloud.config.availabilityZone,
      typeId: type.id,
      hostName,
      isBootable: origin.isBootable ? 1 : 0,
      imageMetadata: origin.imageMetadata,
      metadata: JSON.stringify(metadata),
      ...origin.columns,
    },
    cloud.clock.now(),
  )
  return tx.selectFrom('volumes').selectAll().where('id', '=', id).executeTakeFirstOrThrow()
}

const NOTHING: Origin = {
  leastGib: 1,
  sizeGib: undefined,
  typeId: undefined,
  availabilityZone: undefined,
  isBootable: false,
  imageMetadata: null,
  columns: {},
}

async function readOrigin(
  tx: Tx,
  caller: Caller,
  source: VolumeSource | null,
  takesSnapshotOfImage: boolean,
): Promise<Origin> {
  if (source === null) return NOTHING
  if (source.kind === 'image' && takesSnapshotOfImage) {
    const image = await findImage(tx, caller, source.imageId)
    const snapshotId = image?.status === 'active' && isOfSnapshots(image) ? rootSnapshotOf(image) : undefined
    if (snapshotId !== undefined) return readOrigin(tx, caller, { kind: 'snapshot', snapshotId }, false)
  }
  if (source.kind === 'image') return imageOrigin(await getUsableImage(tx, caller, source.imageId))
  if (source.kind === 'volume') {
    const volume = await findVolume(tx, caller, source.volumeId)
    if (!volume) throw new ApiError('itemNotFound', `Volume ${source.volumeId} could not be found.`)
    // Whoever deletes the source waits, and then sees the volume that is made from it.
    const { status } = await lockVolume(tx, volume.id)
    if (status !== 'available' && status !== 'in-use') {
      throw new ApiError('badRequest', `Volume ${volume.id} must be available or in-use to be copied; it is ${status}.`)
    }
    return { ...originOf(volume, volume.sizeGib), columns: { sourceVolumeId: volume.id } }
  }
  const snapshot = await findSnapshot(tx, caller, source.snapshotId)
  if (!snapshot) throw new ApiError('itemNotFound', `Snapshot ${source.snapshotId} could not be found.`)
  const volume = await lockVolume(tx, snapshot.volumeId)
  const now = await findSnapshot(tx, caller, snapshot.id)
  if (now?.status !== 'available') {
    throw new ApiError('badRequest', `Snapshot ${snapshot.id} must be available; it is ${now?.status ?? 'deleted'}.`)
  }
  return { ...originOf(volume, snapshot.sizeGib), columns: { snapshotId: snapshot.id } }
}

/** The snapshot that servers made from an image boot from; undefined for none. Anybody may have written that. */
function rootSnapshotOf({ properties }: Image): string | undefined {
  try {
    const items: unknown = JSON.parse((JSON.parse(properties) as Record<string, string>)[IMAGE_MAPPING] ?? '')
    const root = (items as { boot_index?: unknown; snapshot_id?: unknown }[]).find((item) => item?.boot_index === 0)
    return typeof root?.snapshot_id === 'string' ? root.snapshot_id : undefined
  } catch {
    return undefined
  }
}

const originOf = (volume: Volume, sizeGib: number): Origin => ({
  leastGib: sizeGib,
  sizeGib,
  typeId: volume.typeId,
  availabilityZone: volume.availabilityZone,
  isBootable: volume.isBootable === 1,
  imageMetadata: volume.imageMetadata,
  columns: {},
})

/**
 * An image that a volume can be filled from.
 * @throws ApiError badRequest for one that is not there, not the caller's to see, or has no bytes.
 */
export async function getUsableImage(tx: Tx, caller: Caller, imageId: string): Promise<Image> {
  const image = await findImage(tx, caller, imageId)
  if (!image) throw new ApiError('badRequest', `Image ${imageId} could not be found.`)
  if (image.status !== 'active') {
    throw new ApiError('badRequest', `Image ${image.id} is not active; it is ${image.status}.`)
  }
  if (isOfSnapshots(image)) {
    throw new ApiError('badRequest', `Image ${image.id} has no bytes; it names snapshots to begin as.`)
  }
  if (image.diskFormat === 'aki' || image.diskFormat === 'ari') {
    throw new ApiError('badRequest', `Image ${image.id} is a kernel or RAM disk, not a disk.`)
  }
  return image
}

/** The least size of a volume that holds what an image holds, GiB. */
export const leastGibOf = (image: Pick<Image, 'minDiskGib' | 'virtualSizeBytes'>): number =>
  Math.max(image.minDiskGib, Math.ceil((image.virtualSizeBytes ?? 0) / 2 ** 30), 1)

const imageOrigin = (image: Image): Origin => ({
  leastGib: leastGibOf(image),
  sizeGib: undefined,
  typeId: undefined,
  availabilityZone: undefined,
  isBootable: true,
  imageMetadata: imageMetadataOf(image),
  columns: { imageId: image.id },
})

/** What a volume remembers of the image it was made from: `volume_image_metadata`, as JSON. */
export function imageMetadataOf(image: Image): string {
  return JSON.stringify({
    ...JSON.parse(image.properties),
    image_id: image.id,
    image_name: image.name ?? '',
    checksum: image.checksum ?? '',
    container_format: image.containerFormat ?? '',
    disk_format: image.diskFormat ?? '',
    min_disk: String(image.minDiskGib),
    min_ram: String(image.minRamMib),
    size: String(image.sizeBytes ?? 0),
  })
}

function readSize(wished: number | undefined, { leastGib, sizeGib, columns }: Origin): number {
  const size = wished ?? sizeGib
  if (size === undefined) throw new ApiError('badRequest', "A volume needs its 'size' in GiB.")
  if (size >= leastGib) return size
  const source = columns.imageId ? 'image' : columns.snapshotId ? 'snapshot' : 'source volume'
  throw new ApiError('badRequest', `The volume must not be smaller than its ${source}: ${size} GiB < ${leastGib} GiB.`)
}

async function readType(
  cloud: Pick<Cloud, 'config'>,
  tx: Tx,
  caller: Caller,
  wished: string | undefined,
  ofSource: string | undefined,
): Promise<VolumeType> {
  if (wished !== undefined && wished !== '') {
    const type = await findType(tx, caller, wished)
    if (!type) throw new ApiError('itemNotFound', `Volume type ${wished} could not be found.`)
    return type
  }
  const type =
    (ofSource === undefined ? undefined : await findType(tx, { ...caller, isAdmin: true }, ofSource)) ??
    (await readDefaultType(tx, cloud.config.defaultVolumeType))
  if (!type) throw new ApiError('badRequest', 'There is no volume type; an admin has to make one.')
  return type
}

async function readZone(tx: Tx, zone: string | undefined): Promise<string> {
  if (!zone) return ''
  const hosts = await listHosts(tx)
  if (hosts.some((host) => host.availabilityZone === zone)) return zone
  throw new ApiError('badRequest', `Availability zone '${zone}' is invalid: there is none such.`)
}

/** @throws ApiError overLimit for more items than a volume or snapshot may have. */
export function assertMetadataQuota({ config }: Pick<Cloud, 'config'>, metadata: Record<string, string>): void {
  const items = Object.keys(metadata).length
  if (config.quotaMetadata < 0 || items <= config.quotaMetadata) return
  throw overQuota(`Quota exceeded for metadata_items: requested ${items}, the limit is ${config.quotaMetadata}.`)
}
