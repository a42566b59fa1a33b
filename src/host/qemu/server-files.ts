import { join } from 'node:path'

/**
 * Where everything of one server lies.
 * The directory belongs to root, so that a guest that broke out of QEMU cannot
 * put a symbolic link in the place of a log we read; and `sockets` to the user QEMU runs as only until QEMU has
 * made its sockets; the guest does not run before that is over.
 */
export interface ServerFiles {
  directory: string
  /** The qcow2 overlay. */
  disk: string
  /** The overlay while it is being made. */
  unfinishedDisk: string
  /** What says that QEMU was started and not stopped by us: see run-record.ts. */
  record: string
  /** The number of the user its QEMU runs as: see server-user.ts. */
  uid: string
  /** What UEFI keeps for the server, such as what it boots; only servers with that firmware have it. */
  firmwareVariables: string
  /** The model of the server's cards, when they are not virtio: written before its guest starts. */
  cardModel: string
  /** What its guest finds on its config drive, in ISO 9660: see config-drive.ts. */
  configDrive: string
  /** Says that a guest's file systems may be frozen: see frozen-guest.ts. */
  frozen: string
  /** The serial console, and what came before it: see console-writer.ts. */
  consoleLog: string
  olderConsoleLog: string
  /** The pipe through which QEMU hands the console to what writes it down. */
  consolePipe: string
  /** Every QMP event, one JSON a line, written by QEMU itself: it tells how QEMU ended while we were away. */
  eventLog: string
  /** What QEMU wrote to stderr. */
  qemuLog: string
  sockets: string
  /** The monitor the driver holds. */
  qmp: string
  /** A second monitor, for people and tools: QMP serves one client at a time. */
  tools: string
  serial: string
  guestAgent: string
  vnc: string
}

/** The paths of one server's files. `serversDir` must be absolute and short: a socket's path has at most 107 bytes. */
export function serverFiles(serversDir: string, serverId: string): ServerFiles {
  const directory = join(serversDir, serverId)
  const sockets = join(directory, 's')
  return {
    directory,
    disk: join(directory, 'disk.qcow2'),
    unfinishedDisk: join(directory, 'disk.qcow2.unfinished'),
    record: join(directory, 'run.json'),
    uid: join(directory, 'uid'),
    firmwareVariables: join(directory, 'firmware.vars'),
    cardModel: join(directory, 'card-model'),
    configDrive: join(directory, 'config-drive.iso'),
    frozen: join(directory, 'frozen'),
    consoleLog: join(directory, 'console.log'),
    olderConsoleLog: join(directory, 'console.older.log'),
    consolePipe: join(directory, 'console.pipe'),
    eventLog: join(directory, 'events.log'),
    qemuLog: join(directory, 'qemu.log'),
    sockets,
    qmp: join(sockets, 'qmp'),
    tools: join(sockets, 'tools'),
    serial: join(sockets, 'serial'),
    guestAgent: join(sockets, 'agent'),
    vnc: join(sockets, 'vnc'),
  }
}

const LOCAL_DISK = /^local-.*\.qcow2$/

/** Where a disk of the server's own lies, besides the one of its image. `diskId` must be safe in a file name. */
export const localDisk = ({ directory }: ServerFiles, diskId: string): string =>
  join(directory, `local-${diskId}.qcow2`)

/** Whether a file of a server's directory is such a disk. */
export const isLocalDisk = (name: string): boolean => LOCAL_DISK.test(name)

/** The most bytes a unix socket's path may have on Linux. Source: unix(7), sun_path without its final zero. */
export const SOCKET_PATH_BYTES = 107
