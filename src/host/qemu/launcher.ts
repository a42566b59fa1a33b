import { existsSync, lchownSync } from 'node:fs'
import { type CardPlan, HostError, MOST_CARDS, type ServerPlan } from '../host-driver.ts'
import { MOST_DISKS } from '../volume-host.ts'
import type { StoredVolume } from '../volumes/volume-backend.ts'
import { type Accelerator, kvmGroup } from './accelerator.ts'
import { placeConfigDrive } from './config-drive.ts'
import { makeConsolePipe } from './console-writer.ts'
import type { Guests } from './guests.ts'
import { demandMemory } from './host-facts.ts'
import { launchCommand, type Tap, tapFds } from './launch-command.ts'
import { qemuArgs } from './qemu-args.ts'
import type { QemuDisks } from './qemu-disks.ts'
import { makeServerDirectory } from './qemu-disks.ts'
import type { QemuDriverOptions } from './qemu-driver-options.ts'
import type { QemuPrograms } from './qemu-programs.ts'
import { baseOfDisk, findDirectBoot, findKernel } from './server-disk.ts'
import type { ServerFiles } from './server-files.ts'
import { ensureFirmware, noteCardModel } from './server-hardware.ts'
import { ensureServerUser, type User } from './server-user.ts'
import { readQemuLog, startQemu } from './start-qemu.ts'

/** Memory QEMU takes besides the guest's own, in MiB: measured 220 for a guest of 128 under TCG. */
const OVERHEAD_MIB = 128
/** Memory the guest's control group grants besides the guest's own, in MiB: disk cache and screen come on top. */
const LIMIT_OVERHEAD_MIB = 512

export interface LauncherParts {
  options: QemuDriverOptions
  guests: Guests
  disks: QemuDisks
  programs: QemuPrograms
  accelerator: Accelerator
  /** A file that holds what QEMU's event monitor is greeted with. */
  greeting: string
  serversDir: string
  /** Whether each server has a user of its own. */
  hasServerUsers: boolean
}

/** Starts guests: what a plan needs is checked, then QEMU is run as a user of the server's own, and let run. */
export class Launcher {
  readonly #parts: LauncherParts

  constructor(parts: LauncherParts) {
    this.#parts = parts
  }

  /**
   * Starts a server that does not run, or keeps its place in the queue of those that boot.
   * @throws HostError as `HostDriver.ensureOn`.
   */
  async start(plan: ServerPlan): Promise<'on' | 'queued'> {
    const { guests, disks } = this.#parts
    const files = guests.files(plan.serverId)
    const baseDisk = await this.#demandDisks(plan, files)
    const taps = await this.#findTaps(plan)
    const user = this.ensureUser(files)
    if (baseDisk !== undefined) lchownSync(files.disk, user.uid, user.gid)
    return await disks.lend(plan, user, async (storedDisks) => {
      const command = await this.#command({ plan, files, baseDisk, storedDisks, taps, user })
      if (!guests.queue.ask(plan.serverId)) return 'queued'
      try {
        guests.demandHeld()
        demandMemory(plan.ramMib + OVERHEAD_MIB)
        await this.#launch(plan, command, user)
        return 'on'
      } catch (error) {
        guests.queue.leave(plan.serverId)
        throw error
      }
    })
  }

  /** The user of a server that does not run. */
  ensureUser(files: ServerFiles): User {
    const { hasServerUsers, serversDir, options } = this.#parts
    return hasServerUsers ? ensureServerUser(serversDir, files) : options.user
  }

  /** The base of the image's disk, if the server has one; its directory is there from then on. */
  async #demandDisks(plan: ServerPlan, files: ServerFiles): Promise<string | undefined> {
    const { disks, options } = this.#parts
    if (plan.disks.length > MOST_DISKS) {
      throw new HostError('startFailed', `A server starts with at most ${MOST_DISKS} disks besides its image's.`)
    }
    if (plan.imageId !== null) {
      const baseDisk = await baseOfDisk(files, options.imagesDir, plan.imageId)
      disks.stored.demandNotCopied(files.disk)
      return baseDisk
    }
    if (existsSync(files.directory)) return undefined
    // Before it leaves a trace.
    for (const { kind, diskId } of plan.disks) {
      if (kind === 'volume') await disks.stored.withVolume(diskId, async () => {})
    }
    await makeServerDirectory(files)
    return undefined
  }

  async #command(input: {
    plan: ServerPlan
    files: ServerFiles
    baseDisk: string | undefined
    storedDisks: StoredVolume[]
    taps: Tap[]
    user: User
  }): Promise<string[]> {
    const { programs, accelerator, options } = this.#parts
    const { plan, files, baseDisk, storedDisks, taps, user } = input
    const { hardware } = plan
    const besideDisk = async () => (baseDisk === undefined ? undefined : await findDirectBoot(baseDisk))
    const directBoot = hardware.kernel ? findKernel(options.imagesDir, hardware.kernel) : await besideDisk()
    const firmware = await ensureFirmware(hardware, files, user)
    const args = qemuArgs({
      ...{ plan, files, baseDisk, storedDisks, directBoot, firmware, accelerator },
      tapFds: tapFds(taps.length),
    })
    const extraGid = accelerator === 'kvm' ? await kvmGroup() : undefined
    return launchCommand({ programs, taps, user, extraGid, qemuArgs: args })
  }

  async #findTaps(plan: ServerPlan): Promise<Tap[]> {
    if (plan.ports.length > MOST_CARDS) {
      throw new HostError('startFailed', `A server starts with at most ${MOST_CARDS} network cards.`)
    }
    return await Promise.all(plan.ports.map((card) => this.findTap(card)))
  }

  /** @throws HostError `notPlugged`. */
  async findTap({ portId }: Pick<CardPlan, 'portId'>): Promise<Tap> {
    const tap = await this.#parts.options.network.findTap(portId)
    if (tap) return tap
    throw new HostError('notPlugged', 'A network card of this server is not plugged in on its host.', {
      cause: new Error(`port ${portId} has no tap`),
    })
  }

  async #launch(plan: ServerPlan, command: readonly string[], user: User): Promise<void> {
    const { guests, greeting, options } = this.#parts
    const files = guests.files(plan.serverId)
    noteCardModel(plan.hardware, files)
    await makeConsolePipe(files)
    await placeConfigDrive(plan, files, user)
    const limits = { vcpus: plan.vcpus, memoryMib: plan.ramMib + LIMIT_OVERHEAD_MIB }
    const record = startQemu({
      command,
      files,
      user,
      greeting,
      startedAt: options.clock.now(),
      limits,
      onPid: (pid) => guests.limit(plan.serverId, limits, pid),
    })
    const guest = record && guests.adopt(plan.serverId, record)
    if ((await guest?.untilReady()) && (await guest?.letRun())) return
    const said = readQemuLog(files)
    if (!(await guests.end(plan.serverId))) options.log.error({ serverId: plan.serverId }, 'QEMU does not end')
    throw new HostError('startFailed', 'The virtual machine could not be started.', {
      cause: new Error(said === '' ? 'QEMU ended, or did not answer, and said nothing' : said),
    })
  }
}
