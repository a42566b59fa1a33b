/**
 * What a host is asked about disks that outlive servers: volumes, their snapshots, and the images that servers and
 * volumes begin as. Part of `HostDriver`; the same words hold: ensure… makes it so and may be asked twice, remove…
 * accepts that it never was, read… looks at the world.
 *
 * A *base* is a disk that never changes: an image, or a snapshot of a volume. Volumes and servers made from one share
 * its bytes. A base that was removed stays as long as a disk leans on it, and no longer.
 *
 * A volume has one writer: the guest it is attached to, or the host while no guest has it.
 */

export type VolumeSource =
  | { kind: 'image'; imageId: string }
  | { kind: 'snapshot'; snapshotId: string }
  | { kind: 'volume'; volumeId: string }

export interface VolumePlan {
  volumeId: string
  /** The volume is as large as its source when that is larger. */
  sizeGib: number
  /** Null: it begins empty. */
  source: VolumeSource | null
}

/** An uploaded image that was inspected: what it is made from on this host. */
export interface ImagePlan {
  imageId: string
  /** The bytes as the user gave them, an absolute path. */
  file: string
  /** As declared and checked: the format is never guessed. `aki` and `ari` are taken as they are. */
  diskFormat: string
  /** As the inspection found it: the converted disk is no larger. */
  virtualBytes: number
}

/** What an image shall be made of. */
export type ImageOrigin = { kind: 'server'; serverId: string } | { kind: 'volume'; volumeId: string }

export type ImageFormat = 'qcow2' | 'raw'

/** A file that holds an image: standalone, never changed. */
export interface ImageFile {
  /** Absolute. */
  file: string
  sizeBytes: number
  virtualBytes: number
}

/** A disk of a server besides the one made from its image. */
export interface ServerDisk {
  /** The volume's id, or the id of a disk of the server's own. */
  diskId: string
  /** `local`: an ephemeral or swap disk, which lives and dies with its server. */
  kind: 'volume' | 'local'
  /** `vdb`: a wish that the guest may not follow; the serial number (first 20 characters of `diskId`) is what counts. */
  device: string
  /** The lowest one boots, before the image's disk; null: it does not boot. */
  bootIndex: number | null
  /** Undefined: the machine's own for disks. Disks on IDE and SATA come and go only while the machine is off. */
  bus?: 'virtio' | 'scsi' | 'sata' | 'ide' | undefined
  /** A CD: on any bus but virtio, and never written to. */
  isCd?: true | undefined
  /** No guest writes to it. Not for disks on IDE and SATA, which have no word for it. */
  isReadOnly?: true | undefined
}

/** A disk of a server's own that begins empty. */
export interface BlankDiskPlan {
  serverId: string
  diskId: string
  sizeMib: number
  /** What it is prepared as. */
  content: 'ext4' | 'swap' | 'nothing'
}

/** Everything a host has of disks, by the ids of those they belong to, in no order. */
export interface StoredDisks {
  imageIds: string[]
  volumeIds: string[]
  snapshotIds: string[]
}

/** Disks besides the one of the image that a server has at most: machines keep places for network cards. */
export const MOST_DISKS = 7

/** Why a host does not make an image whose id is that of a removed one on which disks lean: they need its bytes. */
export const STANDING_IMAGE = 'Servers or volumes of a deleted image with this id are still there. Take another id.'

export interface VolumeHost {
  /**
   * Makes an uploaded image usable: converts it into the house format, within limits of processor, memory and size.
   * Never touches an image that is there.
   * @throws HostError `noSpace`; `badImage` with what is wrong with it, or `STANDING_IMAGE`.
   */
  ensureImage(image: ImagePlan): Promise<void>
  /** The image as a base goes, as soon as no disk leans on it. */
  removeImage(imageId: string): Promise<void>
  /**
   * An image made of the disk that a server boots from or of a volume, flattened, as it is at one moment; a guest that
   * runs goes on, frozen by its agent for that moment where there is one. Never touches an image that is there.
   * @param format of the file it answers with; disks are made from the qcow2 in either case.
   * @throws HostError `noSpace`, `noDisk`; `badImage` with `STANDING_IMAGE`.
   */
  ensureImageOf(imageId: string, origin: ImageOrigin, format?: ImageFormat): Promise<ImageFile>

  /**
   * The volume, from its source where it has one. Never touches a volume that exists.
   * @throws HostError `noSpace`, `noImage` and `noDisk` for a source that is not there.
   */
  ensureVolume(volume: VolumePlan): Promise<void>
  /** @throws HostError `running` while a guest has it. */
  removeVolume(volumeId: string): Promise<void>
  /**
   * Makes the volume at least so large; a guest that has it sees it at once.
   * @throws HostError `noSpace`, `noDisk`.
   */
  ensureVolumeSize(volumeId: string, sizeGib: number): Promise<void>
  /**
   * What the volume holds at one moment, whether a guest has it or not, for ever.
   * @throws HostError `noSpace`, `noDisk`.
   */
  ensureSnapshot(snapshotId: string, volumeId: string): Promise<void>
  /** Goes as soon as no disk leans on it. */
  removeSnapshot(snapshotId: string): Promise<void>
  /**
   * The volume holds what its snapshot or an image holds, at the volume's own size. Doing it again loses what was
   * written since.
   * @throws HostError `running` while a guest has it; `noSpace`, `noDisk`, `noImage`.
   */
  resetVolume(volumeId: string, source: VolumeSource): Promise<void>

  /** A disk of the server's own, prepared; never touches one that exists. @throws HostError `noSpace`. */
  ensureBlankDisk(disk: BlankDiskPlan): Promise<void>
  /**
   * Plugs a disk into a guest that runs; does nothing when it has it, or does not run.
   * @throws HostError `noDisk`; `startFailed` when the machine takes no more disks, or none of its bus while it runs.
   */
  ensureAttached(serverId: string, disk: ServerDisk): Promise<void>
  /**
   * Takes a volume out of a guest that runs; does nothing when it has none such. Afterwards nobody has it open.
   * @throws HostError `unreachable` when the guest does not let go of it, while it boots for instance; `startFailed`
   * for a disk on IDE or SATA, which a machine keeps while it runs.
   */
  removeAttached(serverId: string, volumeId: string): Promise<void>

  /** Every volume, snapshot and image this host has a trace of, half-made ones and removed bases too. */
  readDisks(): Promise<StoredDisks>
}
