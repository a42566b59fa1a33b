/** Tables of images' members, of volumes, and of the disks of servers; see schema.ts for the conventions. */
import type { Flag } from './flag.ts'

export type ImageStatus = 'queued' | 'saving' | 'uploading' | 'importing' | 'active' | 'deactivated' | 'killed'
export type ImageVisibility = 'public' | 'private' | 'shared' | 'community'

export interface ImagesTable {
  id: string
  /** Null: the cloud's own, which no project may change. */
  projectId: string | null
  name: string | null
  status: ImageStatus
  visibility: ImageVisibility
  diskFormat: string | null
  containerFormat: string | null
  /** These are null until there are bytes. */
  sizeBytes: number | null
  virtualSizeBytes: number | null
  /** MD5, hex. */
  checksum: string | null
  hashAlgorithm: string | null
  hashValue: string | null
  minDiskGib: number
  minRamMib: number
  isProtected: Flag
  isHidden: Flag
  /** JSON: list of words. */
  tags: string
  /** JSON: free properties, string to string. */
  properties: string
  /** JSON: what the inspection of the bytes checked and found, or refused; null before there was one. */
  verdict: string | null
  createdAt: number
  updatedAt: number
}

export interface ImageMembersTable {
  imageId: string
  /** The project it is shared with. */
  memberId: string
  status: 'pending' | 'accepted' | 'rejected'
  createdAt: number
  updatedAt: number
}

export type VolumeStatus =
  | 'creating'
  | 'available'
  | 'reserved'
  | 'attaching'
  | 'in-use'
  | 'detaching'
  | 'deleting'
  | 'error'
  | 'error_deleting'
  | 'extending'
  | 'error_extending'
  | 'downloading'
  | 'uploading'
  | 'retyping'
  | 'reverting'
  | 'maintenance'
  | 'awaiting-transfer'

export interface VolumesTable {
  id: string
  projectId: string
  userId: string
  name: string
  description: string | null
  sizeGib: number
  status: VolumeStatus
  /** What it goes back to when the task its status names is over: an upload of a volume in use, for instance. */
  statusBefore: VolumeStatus | null
  availabilityZone: string
  typeId: string
  /** Where its bytes lie; null until they do. */
  hostName: string | null
  snapshotId: string | null
  sourceVolumeId: string | null
  imageId: string | null
  isBootable: Flag
  isReadOnly: Flag
  /** JSON: string to string. */
  metadata: string
  /** JSON: of the image it was made from; null when it was made from none. */
  imageMetadata: string | null
  /** Why it is in error; null when it is not. */
  faultMessage: string | null
  createdAt: number
  updatedAt: number
}

export type SnapshotStatus = 'creating' | 'available' | 'deleting' | 'error' | 'error_deleting'

export interface VolumeSnapshotsTable {
  id: string
  projectId: string
  userId: string
  volumeId: string
  name: string
  description: string | null
  sizeGib: number
  status: SnapshotStatus
  /** JSON: string to string. */
  metadata: string
  faultMessage: string | null
  createdAt: number
  updatedAt: number
}

export interface VolumeTypesTable {
  id: string
  name: string
  description: string | null
  isPublic: Flag
  /** JSON: string to string. */
  extraSpecs: string
  createdAt: number
  updatedAt: number
}

export interface VolumeTypeAccessTable {
  typeId: string
  projectId: string
}

export interface VolumeTransfersTable {
  id: string
  volumeId: string
  projectId: string
  name: string
  /** SHA-256 of the key that whoever accepts it must know. */
  keyHash: string
  createdAt: number
}

export interface VolumeQuotasTable {
  projectId: string
  /** `volumes`, `snapshots`, `gigabytes`, `per_volume_gigabytes`, …, also `volumes_ssd`. */
  resource: string
  most: number
}

/** What a disk is plugged into. */
export type DiskBus = 'virtio' | 'scsi' | 'sata' | 'ide'

export type BlockDeviceStatus = 'reserved' | 'attaching' | 'attached' | 'detaching'

/**
 * A disk of a server besides the one made from its image. For volumes this row is the attachment: a volume is
 * `attaching`, `in-use` or `detaching` while there is one, and never otherwise.
 */
export interface BlockDevicesTable {
  /** The attachment's id, and the disk's where it is the server's own. */
  id: string
  serverId: string
  /** Null: a disk of the server's own. */
  volumeId: string | null
  content: 'volume' | 'ext4' | 'swap' | 'nothing'
  /** Of a disk of the server's own. */
  sizeMib: number
  /** `/dev/vdb`. */
  deviceName: string
  /** The lowest one boots; null: it does not. */
  bootIndex: number | null
  /** The volume goes with the server. */
  isDeletedWithServer: Flag
  /** The volume was made for this server: it goes when the build fails. */
  isMadeForServer: Flag
  status: BlockDeviceStatus
  tag: string | null
  /** Null: the bus of the machine's disks. */
  diskBus: DiskBus | null
  deviceType: 'disk' | 'cdrom'
  /** As its volume was when it was attached; no CD is written to either. */
  isReadOnly: Flag
  createdAt: number
  attachedAt: number | null
}
