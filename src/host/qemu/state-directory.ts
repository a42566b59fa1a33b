import { chmodSync, mkdirSync, realpathSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { newId } from '../../lib/ids.ts'
import { HostError } from '../host-driver.ts'
import { findClosedDirectory } from './host-facts.ts'
import { SOCKET_PATH_BYTES, serverFiles } from './server-files.ts'
import { EVENT_MONITOR_GREETING } from './start-qemu.ts'

export interface StateDirectory {
  /** Without symbolic links in it: command lines of running guests are compared with it. */
  dataDir: string
  serversDir: string
  /** The file QEMU's event monitor reads. */
  greeting: string
}

/**
 * Makes the driver's directories, and sees to it that QEMU's user can pass through to its servers' files: the data
 * directory itself is opened for passing (not for reading); what lies above it is not ours to open.
 * @throws HostError `missing` when this process lacks the rights, or the place is unfit, saying what to do; Error of a
 * system call that failed.
 */
export function prepareState(options: {
  dataDir: string
  imagesDir: string
  user: { uid: number; gid: number }
}): StateDirectory {
  if (process.getuid?.() !== 0) {
    throw new HostError('missing', 'Real servers need root on this machine: run as root, or choose the memory driver.')
  }
  mkdirSync(options.dataDir, { recursive: true })
  const dataDir = realpathSync(options.dataDir)
  const serversDir = join(dataDir, 'servers')
  mkdirSync(serversDir, { recursive: true })
  for (const directory of [dataDir, serversDir]) chmodSync(directory, (statSync(directory).mode & 0o7777) | 0o011)
  mkdirSync(options.imagesDir, { recursive: true })
  for (const directory of [serversDir, realpathSync(options.imagesDir)]) {
    const closed = findClosedDirectory(directory, options.user)
    if (closed === undefined) continue
    const advice = `choose another data directory, or run: chmod o+x ${closed}`
    throw new HostError('missing', `The user QEMU runs as cannot pass through ${closed}: ${advice}`)
  }
  const { tools, serial, guestAgent } = serverFiles(serversDir, newId())
  const longest = Math.max(...[tools, serial, guestAgent].map((path) => Buffer.byteLength(path)))
  if (longest > SOCKET_PATH_BYTES) {
    const most = Buffer.byteLength(dataDir) - (longest - SOCKET_PATH_BYTES)
    throw new HostError(
      'missing',
      `The data directory's path is too long for sockets; at most ${most} bytes: ${dataDir}`,
    )
  }
  const greeting = join(serversDir, 'event-monitor-greeting.json')
  // Whole or not at all: a QEMU that is not greeted reports no events, and its every end would look like a crash.
  writeFileSync(`${greeting}.unfinished`, EVENT_MONITOR_GREETING, { mode: 0o600, flush: true })
  renameSync(`${greeting}.unfinished`, greeting)
  return { dataDir, serversDir, greeting }
}
