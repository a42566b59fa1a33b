import type { VolumeHost } from '../volume-host.ts'

/**
 * Where volumes, snapshots and images of a host lie, and all that can be done with them while no guest takes part. A
 * backend knows no guest; what a guest has open it finds out, and has done, by `DiskUsers`.
 */
export interface VolumeBackend extends Omit<VolumeHost, 'ensureBlankDisk' | 'ensureAttached' | 'removeAttached'> {
  /** Clears what a killed process left half made, and bases that nothing leans on any more. */
  start(): Promise<void>
}

/** A volume as QEMU shall be told it: both files are named, so that no header counts. */
export interface StoredVolume {
  /** Absolute. */
  file: string
  /** The base below it. */
  base: string | undefined
}

/** The guest that has a disk open. */
export interface DiskUser {
  /**
   * Writes what the disk holds at one moment into a new qcow2 file, flattened. False when the guest ended before that was
   * done; the file is then not there, and the disk at rest.
   * @throws HostError `noSpace`, `unreachable`.
   */
  copyTo(file: string): Promise<boolean>
  /** Makes the disk at least so large, and tells the guest. False as above. */
  growTo(bytes: number): Promise<boolean>
}

/** Who besides the backend has disks open. */
export interface DiskUsers {
  /** The guest that has this file open. @throws HostError `unreachable` when it cannot be told. */
  find(file: string): Promise<DiskUser | undefined>
  /** The file of the disk that a server boots from; undefined when there is none, or it cannot be told. */
  bootDisk(serverId: string): Promise<string | undefined>
}
