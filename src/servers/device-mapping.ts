/**
 * What a create says about disks, both forms of it, as one list of wishes. Pure: it looks nothing up.
 * Source: shared/spec/nova-v21.md, section 2.1, the rules of block_device_mapping_v2.
 */
import type { Static } from 'typebox'
import type { DiskBus } from '../db/volume-schema.ts'
import type { VolumeSource } from '../host/volume-host.ts'
import { ApiError } from '../http/api-error.ts'
import { IMAGE_MAPPING } from '../images/image-store.ts'
import { ROOT_DEVICE, readDeviceName } from './device-names.ts'
import type { MappingItem, OldMappingItem } from './mapping-schema.ts'

/** What all wishes for a disk say. */
interface Common {
  /** How messages call the item. */
  item: string
  deviceName: string | undefined
  /** From 0; null: it does not boot. */
  bootIndex: number | null
  isDeletedWithServer: boolean
  tag: string | null
  /** Null: the machine's own bus for disks. */
  diskBus: DiskBus | null
  deviceType: 'disk' | 'cdrom'
}

/** A disk of the server's own; its size is the flavor's when undefined. */
export type WishedLocalDisk = Common & { kind: 'local'; content: 'ext4' | 'swap'; sizeMib: number | undefined }
export type WishedVolume = Common & { kind: 'volume'; volumeId: string }
export type WishedNewVolume = Common & {
  kind: 'newVolume'
  source: Exclude<VolumeSource, { kind: 'volume' }> | null
  sizeGib: number | undefined
  type: string | undefined
}
export type WishedDisk = WishedLocalDisk | WishedVolume | WishedNewVolume

export interface WishedDisks {
  /** The server has a disk made from its image; else it boots from the disk whose `bootIndex` is 0. */
  bootsFromImage: boolean
  disks: WishedDisk[]
}

/** What is read of the body. */
export interface MappingWish {
  /** The id; undefined for none. */
  imageId: string | undefined
  mapping: readonly Static<typeof MappingItem>[]
  oldMapping: readonly Static<typeof OldMappingItem>[]
  /** The disks that the image itself brings. */
  ofImage?: readonly Static<typeof MappingItem>[]
}

/** Properties that say which disks an image brings: nobody else may write them for an image of a server. */
export const MAPPING_PROPERTIES: readonly string[] = [IMAGE_MAPPING, 'bdm_v2', 'root_device_name', 'mappings']

/** An image's properties without those of its disks. */
export const withoutMapping = (properties: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(properties).filter(([name]) => !MAPPING_PROPERTIES.includes(name)))

/** The image whose bytes or disks the root is made of; undefined for none. */
export const rootImageOf = ({ imageId, mapping }: Pick<MappingWish, 'imageId' | 'mapping'>): string | undefined => {
  const root = mapping.find((item) => isImageRoot(item, undefined))
  return imageId ?? root?.uuid ?? root?.image_id ?? undefined
}

const invalid = (reason: string): ApiError => new ApiError('badRequest', `Block Device Mapping is Invalid: ${reason}`)

/**
 * The disks wished for.
 * @throws ApiError badRequest for what does not go together, and for a boot sequence with gaps or without a beginning.
 */
export function readMapping({ imageId, mapping, oldMapping, ofImage = [] }: MappingWish): WishedDisks {
  if (mapping.length > 0 && oldMapping.length > 0) {
    throw invalid('block_device_mapping and block_device_mapping_v2 do not go together.')
  }
  const brought = ofImage.flatMap((item, at) => readItem(item, `image.block_device_mapping.${at}`, undefined))
  // A root that the image brings takes the place of the one that clients would have made of its bytes.
  const own = brought.some(isRoot) ? mapping.filter((item) => !isImageRoot(item, imageId)) : mapping
  const wished =
    oldMapping.length > 0
      ? readOldItems(oldMapping, imageId)
      : own.flatMap((item, at) => readItem(item, `block_device_mapping_v2.${at}`, imageId))
  const named = new Set(wished.map(({ deviceName }) => deviceName))
  const disks = [...brought.filter(({ deviceName }) => deviceName === undefined || !named.has(deviceName)), ...wished]
  const bootsFromImage = imageId !== undefined && !disks.some(({ bootIndex }) => bootIndex === 0)
  if (imageId === undefined && disks.length === 0) {
    throw new ApiError(
      'badRequest',
      "'imageRef' is missing: a server boots from an image, or from a volume named in block_device_mapping_v2.",
    )
  }
  const indexes = disks.flatMap(({ bootIndex }) => (bootIndex === null ? [] : [bootIndex]))
  if (bootsFromImage) indexes.push(0)
  indexes.sort((a, b) => a - b)
  if (indexes.length === 0 || indexes.some((index, at) => index !== at)) {
    throw invalid('the boot sequence is not valid: boot_index must count 0, 1, 2 … without a gap, each once.')
  }
  const swaps = disks.filter((disk) => disk.kind === 'local' && disk.content === 'swap')
  if (swaps.length > 1) throw invalid('more than one swap disk.')
  return { bootsFromImage, disks }
}

const isRoot = ({ bootIndex }: WishedDisk): boolean => bootIndex === 0

/** Whether an item makes the root of the image that the server is made from, on a disk of its own or a volume. */
const isImageRoot = (item: Static<typeof MappingItem>, imageId: string | undefined): boolean =>
  Number(item.boot_index ?? -1) === 0 &&
  item.source_type === 'image' &&
  (imageId === undefined || (item.uuid ?? item.image_id) === imageId)

const isYes = (flag: boolean | string | null | undefined): boolean =>
  flag === true || (typeof flag === 'string' && ['true', '1'].includes(flag.toLowerCase()))
const numberOf = (value: number | string | null | undefined): number | undefined =>
  value === null || value === undefined ? undefined : Number(value)

/** One item of the second form: one disk, or none for the image's own and for `no_device`. */
function readItem(item: Static<typeof MappingItem>, name: string, imageId: string | undefined): WishedDisk[] {
  if (isYes(item.no_device)) return []
  const { source_type: source } = item
  if (!source) throw invalid(`${name} needs a source_type: volume, image, snapshot or blank.`)
  const index = numberOf(item.boot_index)
  const common: Common = {
    item: name,
    deviceName: item.device_name ? readDeviceName(item.device_name) : undefined,
    bootIndex: index === undefined || index < 0 ? null : index,
    isDeletedWithServer: isYes(item.delete_on_termination),
    tag: item.tag ?? null,
    ...readKind(name, item),
  }
  const destination = item.destination_type ?? (source === 'volume' || source === 'snapshot' ? 'volume' : 'local')
  const size = numberOf(item.volume_size)
  const type = item.volume_type ?? undefined
  const id = item.uuid ?? (source === 'blank' ? undefined : item[`${source}_id`]) ?? undefined
  if (source === 'blank' && id !== undefined) throw invalid(`${name}: a blank disk has no uuid.`)
  if (source !== 'blank' && id === undefined) throw invalid(`${name} needs a uuid.`)
  if (type !== undefined && (destination === 'local' || source === 'volume')) {
    throw invalid(`${name}: volume_type goes only with volumes that are made.`)
  }
  if (destination === 'local') {
    if (source === 'image') return ownImage(name, common, id, imageId)
    if (source !== 'blank') throw invalid(`${name}: a ${source} cannot become a local disk.`)
    return [{ ...common, ...readLocal(name, common, item.guest_format ?? null, size), isDeletedWithServer: true }]
  }
  switch (source) {
    case 'volume':
      return [{ ...common, kind: 'volume', volumeId: id ?? '' }]
    case 'snapshot':
      return [{ ...common, kind: 'newVolume', source: { kind: 'snapshot', snapshotId: id ?? '' }, sizeGib: size, type }]
    case 'image':
    case 'blank':
      if (size === undefined)
        throw invalid(`${name}: a volume made from ${source === 'image' ? 'an image' : 'nothing'} needs a volume_size.`)
      if (source === 'blank' && common.bootIndex === 0) throw invalid(`${name}: a blank volume is not bootable.`)
      return [
        {
          ...common,
          kind: 'newVolume',
          source: source === 'image' ? { kind: 'image', imageId: id ?? '' } : null,
          sizeGib: size,
          type,
        },
      ]
  }
}

const BUSES: readonly string[] = ['virtio', 'scsi', 'sata', 'ide']

/** What it is plugged into, and as what. @throws ApiError badRequest for what no machine here has. */
function readKind(
  name: string,
  { disk_bus: bus, device_type: type }: Pick<Static<typeof MappingItem>, 'disk_bus' | 'device_type'>,
): Pick<Common, 'diskBus' | 'deviceType'> {
  const diskBus = bus?.toLowerCase() || null
  if (diskBus !== null && !BUSES.includes(diskBus)) {
    throw invalid(`${name}: disk_bus '${bus}' is not available; use ${BUSES.join(', ')}, or none.`)
  }
  const deviceType = type?.toLowerCase() || 'disk'
  if (deviceType === 'lun')
    throw invalid(`${name}: a device_type of lun needs a disk of SCSI's own behind it; use disk.`)
  if (deviceType === 'floppy') throw invalid(`${name}: machines here have no floppy drive; use disk or cdrom.`)
  if (deviceType !== 'disk' && deviceType !== 'cdrom') {
    throw invalid(`${name}: device_type '${type}' is not available; use disk or cdrom.`)
  }
  return { diskBus: diskBus as DiskBus | null, deviceType }
}

/** Clients name the disk of the image too: it is the one that `imageRef` brings anyway. */
function ownImage(name: string, { bootIndex }: Common, id: string | undefined, imageId: string | undefined): [] {
  if (bootIndex === 0 && imageId !== undefined && id === imageId) return []
  throw invalid(`${name}: an image becomes a local disk only as imageRef, with boot_index 0.`)
}

function readLocal(
  name: string,
  { bootIndex }: Common,
  guestFormat: string | null,
  size: number | undefined,
): Pick<WishedLocalDisk, 'kind' | 'content' | 'sizeMib'> {
  if (bootIndex !== null) throw invalid(`${name}: a blank disk is not bootable.`)
  if (guestFormat === 'swap') return { kind: 'local', content: 'swap', sizeMib: size }
  if (guestFormat !== null && guestFormat !== 'ext4') {
    throw invalid(`${name}: guest_format '${guestFormat}' is not available; use ext4 or swap.`)
  }
  return { kind: 'local', content: 'ext4', sizeMib: size === undefined ? undefined : size * 1024 }
}

/** The first form has no boot_index: what is named like the root boots, or the first volume when there is no image. */
function readOldItems(items: readonly Static<typeof OldMappingItem>[], imageId: string | undefined): WishedDisk[] {
  const disks = items.flatMap((item, at) => readOldItem(item, `block_device_mapping.${at}`))
  const volumes = disks.filter(({ kind }) => kind !== 'local')
  const root =
    volumes.find(({ deviceName }) => deviceName === ROOT_DEVICE) ?? (imageId === undefined ? volumes[0] : undefined)
  if (root) root.bootIndex = 0
  return disks
}

function readOldItem(item: Static<typeof OldMappingItem>, name: string): WishedDisk[] {
  if (isYes(item.no_device)) return []
  const size = numberOf(item.volume_size)
  const common: Common = {
    item: name,
    deviceName: item.device_name ? readDeviceName(item.device_name) : undefined,
    bootIndex: null,
    isDeletedWithServer: isYes(item.delete_on_termination),
    tag: null,
    diskBus: null,
    deviceType: 'disk',
  }
  if (item.volume_id) return [{ ...common, kind: 'volume', volumeId: item.volume_id }]
  if (item.snapshot_id) {
    const source = { kind: 'snapshot', snapshotId: item.snapshot_id } as const
    return [{ ...common, kind: 'newVolume', source, sizeGib: size, type: undefined }]
  }
  const { virtual_name: virtualName } = item
  if (virtualName === 'swap' || /^ephemeral[0-9]$/.test(virtualName ?? '')) {
    const local = readLocal(name, common, virtualName === 'swap' ? 'swap' : null, size)
    return [{ ...common, ...local, isDeletedWithServer: true }]
  }
  throw invalid(`${name} needs a volume_id, a snapshot_id, or a virtual_name of swap or ephemeral0.`)
}
