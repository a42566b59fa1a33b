/**
 * The disks of a QEMU host: what lies still is the backend's, what a guest has open is asked of its monitor.
 *
 * A volume that no guest has belongs to root; while one has it, to the user of that server. So its file alone tells
 * which guest has to be asked, and that guest's QEMU has the last word.
 */
import { chownSync, existsSync, readdirSync, statSync } from 'node:fs'
import { chmod, chown, mkdir, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { isUuidLike } from '../../lib/ids.ts'
import { HostError, type ServerPlan } from '../host-driver.ts'
import type { BlankDiskPlan, ServerDisk } from '../volume-host.ts'
import { DirectoryBackend } from '../volumes/directory-backend.ts'
import { createDisk } from '../volumes/qemu-img.ts'
import type { DiskUser, StoredVolume } from '../volumes/volume-backend.ts'
import { makeBlankDisk } from './blank-disk.ts'
import { DISK_DEVICE_PREFIX, diskIds, ROOT_NODE } from './disk-args.ts'
import { Freezer } from './frozen-guest.ts'
import type { Guest } from './guest.ts'
import { copyDisk } from './guest-copy.ts'
import { readDevices, readProperty } from './guest-devices.ts'
import { hasDisk, plugDisk, readNodes, unplugDisk } from './guest-disks.ts'
import type { Guests } from './guests.ts'
import type { QemuPrograms } from './qemu-programs.ts'
import { localDisk, type ServerFiles } from './server-files.ts'
import { readServerUid, type User } from './server-user.ts'

export interface QemuDisksOptions {
  dataDir: string
  imagesDir: string
  serversDir: string
  /** Whom images are converted as. */
  user: User
  guests: Guests
  programs: QemuPrograms
  /** Whether each server has a user of its own. */
  hasServerUsers: boolean
}

const unreachable = (cause: unknown): HostError =>
  new HostError('unreachable', 'The server does not answer its host yet.', { cause })

export class QemuDisks {
  readonly stored: DirectoryBackend
  readonly #options: QemuDisksOptions

  constructor(options: QemuDisksOptions) {
    this.#options = options
    const { dataDir, imagesDir, user, programs } = options
    const users = {
      find: (file: string) => this.#findUser(file),
      bootDisk: (serverId: string) => this.#bootDisk(serverId),
    }
    this.stored = new DirectoryBackend({ dataDir, imagesDir, qemuImg: programs.qemuImg, user, users })
  }

  /** Before any guest is looked for: what those had open is still theirs. */
  async start(): Promise<void> {
    const { guests } = this.#options
    for (const serverId of guests.listIds()) {
      const { directory } = guests.files(serverId)
      const leftovers = readdirSync(directory).filter((name) => name.includes('.qcow2.unfinished'))
      for (const name of leftovers) await rm(join(directory, name), { force: true })
    }
    await this.stored.start()
  }

  /** As `VolumeHost` says; the server's guest does not begin or end meanwhile. */
  async ensureBlankDisk(disk: BlankDiskPlan): Promise<void> {
    const { guests, programs } = this.#options
    const files = guests.files(disk.serverId)
    if (existsSync(localDisk(files, demandId(disk.diskId)))) return
    await makeServerDirectory(files)
    await makeBlankDisk(disk, files, programs)
  }

  /** Gives a guest that runs a disk. */
  async attach(serverId: string, guest: Guest, disk: ServerDisk): Promise<void> {
    if (await hasDisk(guest, disk.diskId)) return
    const user = userOf(guest)
    if (!user) return
    await this.#withFiles(serverId, disk, async (stored) => {
      await this.#demandFree(stored.file, disk)
      await chown(stored.file, user.uid, user.gid)
      try {
        await plugDisk(guest, disk, stored)
      } catch (error) {
        // Whoever asks next finds out whose it is; nobody has it when there is no node.
        await this.#findUser(stored.file).catch(() => {})
        throw error
      }
    })
  }

  /** Takes a volume out of a guest that runs. */
  async detach(guest: Guest, volumeId: string): Promise<void> {
    const isNone = !(await hasDisk(guest, volumeId))
    const { node } = diskIds(volumeId)
    if (isNone && !(await readNodes(guest)).some(({ name }) => name === node)) return
    await this.stored.withVolume(volumeId, async ({ file }) => {
      await unplugDisk(guest, volumeId, file)
      await chown(file, 0, 0)
    })
  }

  /**
   * Does something, as starting a guest, while all its disks are its user's; they are root's again when it fails.
   * @throws HostError `noDisk` for one that is not there; `running` for one that another guest has.
   */
  async lend<T>(plan: ServerPlan, user: User, work: (stored: StoredVolume[]) => Promise<T>): Promise<T> {
    // All in one order, though no two servers should ever want the same ones.
    const inOrder = plan.disks.toSorted((a, b) => (a.diskId < b.diskId ? -1 : 1))
    const lent = new Map<string, StoredVolume>()
    const next = async (index: number): Promise<T> => {
      const disk = inOrder[index]
      if (disk && lent.has(disk.diskId)) return await next(index + 1)
      if (!disk) return await work(plan.disks.map(({ diskId }) => lent.get(diskId) as StoredVolume))
      return await this.#withFiles(plan.serverId, disk, async (stored) => {
        await this.#demandFree(stored.file, disk)
        lent.set(disk.diskId, stored)
        await chown(stored.file, user.uid, user.gid)
        try {
          return await next(index + 1)
        } catch (error) {
          await this.#findUser(stored.file).catch(() => {})
          throw error
        }
      })
    }
    return await next(0)
  }

  /** Volumes of a server whose guest is gone are nobody's any more. */
  async release(files: ServerFiles): Promise<void> {
    const uid = readServerUid(files)
    const volumes = join(this.#options.dataDir, 'volumes')
    if (uid === undefined) return
    for (const volumeId of readdirSync(volumes)) {
      const file = join(volumes, volumeId, 'disk.qcow2')
      if (statSync(file, { throwIfNoEntry: false })?.uid !== uid) continue
      // One that is being copied is looked at by whoever wants it next.
      await this.stored.withVolume(volumeId, () => this.#findUser(file)).catch(() => {})
    }
  }

  /** Removes what a server has on disk; the base of its disk goes with the last that leaned on it. */
  async removeServer(files: ServerFiles): Promise<void> {
    const base = await this.stored.bases.baseOf(files.disk).catch(() => undefined)
    await this.release(files)
    await rm(files.directory, { recursive: true, force: true })
    await this.stored.bases.collectBase(base)
  }

  async #withFiles<T>(serverId: string, disk: ServerDisk, work: (stored: StoredVolume) => Promise<T>): Promise<T> {
    if (disk.kind === 'volume') return await this.stored.withVolume(demandId(disk.diskId), work)
    const file = localDisk(this.#options.guests.files(serverId), demandId(disk.diskId))
    if (!existsSync(file)) throw new HostError('noDisk', 'A disk of the server is missing on its host.')
    return await work({ file, base: undefined })
  }

  async #demandFree(file: string, { kind }: ServerDisk): Promise<void> {
    if (kind === 'local' || !(await this.#findUser(file))) return
    throw new HostError('running', 'Another server has the volume.')
  }

  /**
   * The guest that has a disk open: the image's disk of a server, or a volume, by its path. A volume that turns out to be
   * nobody's is root's from then on.
   */
  async #findUser(file: string): Promise<DiskUser | undefined> {
    const { serversDir, guests } = this.#options
    const id = basename(dirname(file))
    if (dirname(dirname(file)) === serversDir) {
      const guest = guests.find(id)
      return guest && (await this.#useOf(id, guest, ROOT_NODE))
    }
    const uid = statSync(file, { throwIfNoEntry: false })?.uid
    if (uid === undefined || uid === 0) return undefined
    for (const serverId of this.#serversOf(uid)) {
      const guest = guests.find(serverId)
      const use = guest && (await this.#useOf(serverId, guest, diskIds(id).node))
      if (use) return use
    }
    chownSync(file, 0, 0)
    return undefined
  }

  #serversOf(uid: number): string[] {
    const { guests, hasServerUsers } = this.#options
    const ids = guests.listIds()
    return hasServerUsers ? ids.filter((id) => readServerUid(guests.files(id)) === uid) : ids
  }

  async #useOf(serverId: string, guest: Guest, node: string): Promise<DiskUser | undefined> {
    try {
      // Also waits for the monitor of one that was just found.
      if ((await guest.readStatus()) === undefined) throw new Error('its monitor does not answer')
      if (!(await readNodes(guest)).some(({ name }) => name === node)) return undefined
    } catch (cause) {
      if (guest.pid === undefined) return undefined
      throw unreachable(cause)
    }
    /** What a guest that ended meanwhile did not do is done at rest. */
    const unlessGone = async (work: () => Promise<unknown>): Promise<boolean> => {
      try {
        await work()
        return true
      } catch (error) {
        if (guest.pid === undefined) return false
        throw error instanceof HostError ? error : unreachable(error)
      }
    }
    return {
      copyTo: (target) => unlessGone(() => this.#copy(serverId, guest, node, target)),
      growTo: (bytes) => unlessGone(() => growDisk(guest, node, bytes)),
    }
  }

  async #copy(serverId: string, guest: Guest, node: string, target: string): Promise<void> {
    const { guests } = this.#options
    const user = userOf(guest)
    try {
      const make = async (bytes: number): Promise<void> => {
        await createDisk(target, bytes)
        await chmod(target, 0o600)
        if (user) await chown(target, user.uid, user.gid)
      }
      await using freezer = new Freezer(guest, guests.files(serverId))
      await copyDisk(guest, node, { file: target, make }, freezer)
      await chown(target, 0, 0)
    } catch (error) {
      await rm(target, { force: true })
      throw error
    }
  }

  /** The image's disk, or the volume that the guest which runs boots from. */
  async #bootDisk(serverId: string): Promise<string | undefined> {
    const { guests, dataDir } = this.#options
    const { disk } = guests.files(serverId)
    if (existsSync(disk)) return disk
    const guest = guests.find(serverId)
    if (!guest || (await guest.readStatus()) === undefined) return undefined
    const devices = (await readDevices(guest)).filter(({ name }) => name.startsWith(DISK_DEVICE_PREFIX))
    const places = await Promise.all(devices.map((device) => readProperty(guest, device, 'bootindex').then(Number)))
    const first = places.indexOf(1)
    const volumeId = devices[first]?.name.slice(DISK_DEVICE_PREFIX.length)
    return volumeId === undefined ? undefined : join(dataDir, 'volumes', volumeId, 'disk.qcow2')
  }
}

/** The directory of a server, which QEMU's user may pass. */
export async function makeServerDirectory({ directory }: ServerFiles): Promise<void> {
  await mkdir(directory, { recursive: true })
  await chmod(directory, 0o711)
}

/** An id becomes a file name and an argument. */
function demandId(diskId: string): string {
  if (!isUuidLike(diskId)) throw new Error(`${diskId} is no id of a disk`)
  return diskId
}

/** Whom a guest's process runs as; undefined when it is gone. */
function userOf({ pid }: Guest): User | undefined {
  const stat = pid === undefined ? undefined : statSync(`/proc/${pid}`, { throwIfNoEntry: false })
  return stat && { uid: stat.uid, gid: stat.gid }
}

/** Never makes it smaller. */
async function growDisk(guest: Guest, node: string, bytes: number): Promise<void> {
  const own = (await readNodes(guest)).find(({ name }) => name === node)
  if (own && own.virtualBytes >= bytes) return
  await guest.execute('block_resize', { 'node-name': node, size: bytes })
}
