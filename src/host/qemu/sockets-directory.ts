import { chmodSync, chownSync, existsSync, lchownSync, mkdirSync, rmSync } from 'node:fs'
import type { ServerFiles } from './server-files.ts'

/** An empty directory that QEMU may make its sockets in. */
export function openSockets(files: ServerFiles, user: { uid: number; gid: number }): void {
  closeSockets(files)
  rmSync(files.sockets, { recursive: true, force: true })
  mkdirSync(files.sockets, { mode: 0o700 })
  chownSync(files.sockets, user.uid, user.gid)
}

/**
 * Takes the directory of the sockets from QEMU, once it has made them and before the guest runs: whoever breaks out
 * of QEMU must not be able to put a link to another socket in the place of one that we, as root, connect to.
 */
export function closeSockets(files: ServerFiles): void {
  if (!existsSync(files.sockets)) return
  lchownSync(files.sockets, 0, 0)
  chmodSync(files.sockets, 0o700)
}
