/**
 * A compute host on this machine: every server is a QEMU process.
 *
 * The truth is the machine itself: `servers/<serverId>/` with a disk and a run record, the process the record names,
 * and what its monitor answers. This object holds only what makes asking quick: connections to monitors, and the boot
 * queue. So it can be killed at any point and made anew (`start`), and QEMU processes live on in between.
 *
 * It does not decide who may run where, and knows images only as files; networks are behind `HostNetwork`.
 */
import { existsSync, lchownSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import type { Duplex } from 'node:stream'
import {
  type CardPlan,
  type DiskPlan,
  type HostDriver,
  HostError,
  type HostFacts,
  type HostServer,
  MOST_CARDS,
  type NetworkPlan,
  type PortPlan,
  type Power,
  type RouterPlan,
  type SecurityGroupPlan,
  type ServerCard,
  type ServerPlan,
} from '../host-driver.ts'
import { type Accelerator, chooseAccelerator, kvmGroup } from './accelerator.ts'
import { detectCgroups } from './cgroup.ts'
import { cleanConsole, lastLines, readConsoleTail } from './console-log.ts'
import { type Guest, hostStops } from './guest.ts'
import { plugCard, unplugCard } from './guest-cards.ts'
import { Guests } from './guests.ts'
import { demandMemory, readMemory, readSpace, readVcpus } from './host-facts.ts'
import { rejectAsHostError, toHostError } from './host-failure.ts'
import { KeyedLock } from './keyed-lock.ts'
import { launchCommand, type Tap, tapFds } from './launch-command.ts'
import { openScreen } from './open-screen.ts'
import { qemuArgs } from './qemu-args.ts'
import type { QemuDriverOptions } from './qemu-driver-options.ts'
import { findQemuPrograms, type QemuPrograms } from './qemu-programs.ts'
import { readBootId } from './run-record.ts'
import { baseOfDisk, ensureOverlay, findDirectBoot } from './server-disk.ts'
import type { ServerFiles } from './server-files.ts'
import { canHaveServerUsers, ensureServerUser, FIRST_SERVER_UID, type User } from './server-user.ts'
import { closeSockets } from './sockets-directory.ts'
import { readQemuLog, startQemu } from './start-qemu.ts'
import { prepareState, type StateDirectory } from './state-directory.ts'

/** Memory QEMU takes besides the guest's own, in MiB: measured 220 for a guest of 128 under TCG. */
const OVERHEAD_MIB = 128
/** Memory the guest's control group grants besides the guest's own, in MiB: disk cache and screen come on top. */
const LIMIT_OVERHEAD_MIB = 512

/** What `start` finds out; nothing works before. */
interface Started {
  guests: Guests
  programs: QemuPrograms
  accelerator: Accelerator
  greeting: string
  serversDir: string
  /** Whether each server has a user of its own. */
  hasServerUsers: boolean
}

/** QEMU on this machine; needs root, to put guests under limits and give up rights before QEMU starts. */
export class QemuDriver implements HostDriver {
  readonly hostName: string
  readonly #options: QemuDriverOptions
  readonly #locks = new KeyedLock()
  readonly #listeners = new Set<() => void>()
  #started: Started | undefined
  #isDisposed = false

  constructor(options: QemuDriverOptions) {
    this.#options = options
    this.hostName = options.hostName
  }

  async start(): Promise<void> {
    const { concurrentBoots, clock, log, user } = this.#options
    if (this.#started) return
    const programs = findQemuPrograms(this.#options.searchPath)
    const hasServerUsers = canHaveServerUsers()
    if (!hasServerUsers) log.warn('this user namespace is small: all guests run as one user')
    const { dataDir, serversDir, greeting } = this.#prepareState(hasServerUsers)
    const cgroups = detectCgroups(dataDir)
    if (cgroups.kind === 'none') log.warn('no control groups on this machine: guests run without CPU and memory limits')
    const choice = { wish: this.#options.accelerator, programs, user, dataDir, log }
    const accelerator = await chooseAccelerator(choice).catch(rejectAsHostError)
    const remade: ServerCard[] = []
    let replug = (card: ServerCard): void => void remade.push(card)
    this.#options.network.onTapRemade((card) => replug(card))
    await this.#options.network.start()
    const nudge = () => this.#nudge()
    const guests = new Guests({ serversDir, cgroups, concurrentBoots, clock, log, nudge })
    guests.findAll()
    this.#started = { guests, programs, accelerator, greeting, serversDir, hasServerUsers }
    replug = (card) => void this.#replug(card)
    for (const card of remade) replug(card)
  }

  #prepareState(hasServerUsers: boolean): StateDirectory {
    try {
      const user = hasServerUsers ? { uid: FIRST_SERVER_UID, gid: FIRST_SERVER_UID } : this.#options.user
      return prepareState({ ...this.#options, user })
    } catch (error) {
      const known = toHostError(error)
      if (known instanceof HostError) throw known
      const { dataDir } = this.#options
      throw new HostError('missing', `The data directory ${dataDir} cannot be used: ${(error as Error).message}`, {
        cause: error,
      })
    }
  }

  async readFacts(): Promise<HostFacts> {
    const { serversDir, accelerator } = this.#ready
    const { totalBytes } = await readSpace(serversDir)
    return {
      vcpus: readVcpus(),
      ramMib: readMemory().totalMib,
      diskGib: Math.floor(totalBytes / 1024 ** 3),
      bootId: readBootId(),
      accelerator,
    }
  }

  async readServers(): Promise<HostServer[]> {
    const { guests } = this.#ready
    return await Promise.all(
      guests.listIds().map(async (serverId) => ({ serverId, power: await guests.readPower(serverId) })),
    )
  }

  async readPower(serverId: string): Promise<Power> {
    return await this.#ready.guests.readPower(serverId)
  }

  async ensureDisk(disk: DiskPlan): Promise<void> {
    const { guests, programs } = this.#ready
    const { imagesDir } = this.#options
    await this.#locks.run(disk.serverId, () => {
      const files = guests.files(disk.serverId)
      const findUser = () => this.#ensureUser(files)
      return ensureOverlay(disk, files, { imagesDir, findUser, qemuImg: programs.qemuImg }).catch(rejectAsHostError)
    })
  }

  async removeDisks(serverId: string): Promise<void> {
    const { guests } = this.#ready
    await this.#locks.run(serverId, async () => {
      if (guests.find(serverId)) throw new HostError('running', 'The server runs; its files stay.')
      guests.queue.leave(serverId)
      const files = guests.files(serverId)
      closeSockets(files)
      await rm(files.directory, { recursive: true, force: true })
    })
  }

  async ensurePort(port: PortPlan): Promise<void> {
    await this.#locks.run(port.portId, () => this.#options.network.ensurePort(port))
  }

  async removePort(portId: string): Promise<void> {
    await this.#locks.run(portId, () => this.#options.network.removePort(portId))
  }

  async ensureNetwork(network: NetworkPlan): Promise<void> {
    await this.#options.network.ensureNetwork(network)
  }

  async ensureSecurityGroup(group: SecurityGroupPlan): Promise<void> {
    await this.#options.network.ensureSecurityGroup(group)
  }

  async ensureRouter(router: RouterPlan): Promise<void> {
    await this.#locks.run(router.routerId, () => this.#options.network.ensureRouter(router))
  }

  async removeRouter(routerId: string): Promise<void> {
    await this.#locks.run(routerId, () => this.#options.network.removeRouter(routerId))
  }

  readNetworking(): Promise<{ portIds: string[]; routerIds: string[] }> {
    return this.#options.network.readNetworking()
  }

  async ensureCard(serverId: string, card: CardPlan): Promise<void> {
    await this.#withRunning(serverId, async (guest) => {
      const { guests, programs } = this.#ready
      const monitor = guests.files(serverId).tools
      await plugCard(guest, card, { programs, tap: await this.#findTap(card.portId), monitor })
    })
  }

  async removeCard(serverId: string, portId: string): Promise<void> {
    await this.#withRunning(serverId, async (guest) => {
      const tap = await this.#options.network.findTap(portId)
      await unplugCard(guest, portId, tap?.tapName)
    })
  }

  /** Gives a guest that runs its card anew: the tap it holds is dead. */
  async #replug({ serverId, ...card }: ServerCard): Promise<void> {
    const { portId } = card
    const { log } = this.#options
    try {
      const { guests, programs } = this.#ready
      if (!guests.find(serverId)) return
      // In one piece, so that nobody takes the card out in between.
      await this.#withRunning(serverId, async (guest) => {
        const tap = await this.#findTap(portId)
        await unplugCard(guest, portId, tap.tapName)
        await plugCard(guest, card, { programs, tap, monitor: guests.files(serverId).tools })
      })
      log.warn({ serverId, portId }, 'The tap of a network card had gone; the guest was given the card anew')
    } catch (error) {
      log.error(
        { err: error, serverId, portId },
        'The tap of a network card had gone; a restart of the server mends it',
      )
    }
  }

  /**
   * Does something to the guest of a server, or nothing when none runs, also when it ends meanwhile.
   * @throws HostError; `unreachable` for whatever its monitor did not answer or refused.
   */
  async #withRunning(serverId: string, work: (guest: Guest) => Promise<void>): Promise<void> {
    await this.#locks.run(serverId, async () => {
      const guest = this.#ready.guests.find(serverId)
      if (!guest || (await guest.readStatus()) === 'shutdown' || guest.pid === undefined) return
      await work(guest).catch((error: unknown) => {
        if (guest.pid === undefined) return
        const cause = toHostError(error)
        if (cause instanceof HostError) throw cause
        throw new HostError('unreachable', 'The server does not answer its host yet.', { cause })
      })
    })
  }

  async ensureOn(plan: ServerPlan): Promise<'on' | 'queued'> {
    return await this.#locks.run(plan.serverId, () => this.#ensureOn(plan)).catch(rejectAsHostError)
  }

  async #ensureOn(plan: ServerPlan): Promise<'on' | 'queued'> {
    const { guests } = this.#ready
    const running = guests.find(plan.serverId)
    const status = await running?.readStatus()
    if (running?.pid !== undefined && status !== 'shutdown') {
      if (status === undefined) {
        throw new HostError('unreachable', 'The server does not answer its host yet.', {
          cause: new Error(`the monitor of process ${running.pid} does not answer`),
        })
      }
      if (status !== 'running') await running.letRun()
      return 'on'
    }
    if (status === 'shutdown') await running?.settleShutdown()
    const { command, user } = await this.#launchCommand(plan)
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
  }

  async #launchCommand(plan: ServerPlan): Promise<{ command: string[]; user: User }> {
    const { guests, programs, accelerator } = this.#ready
    const { imagesDir } = this.#options
    const files = guests.files(plan.serverId)
    const baseDisk = await baseOfDisk(files, imagesDir, plan.imageId)
    const user = this.#ensureUser(files)
    lchownSync(files.disk, user.uid, user.gid)
    const directBoot = await findDirectBoot(baseDisk)
    const taps = await this.#findTaps(plan)
    const args = qemuArgs({ plan, files, baseDisk, directBoot, accelerator, tapFds: tapFds(taps.length) })
    const extraGid = accelerator === 'kvm' ? await kvmGroup() : undefined
    return { command: launchCommand({ programs, taps, user, extraGid, qemuArgs: args }), user }
  }

  #ensureUser(files: ServerFiles): User {
    return this.#ready.hasServerUsers ? ensureServerUser(this.#ready.serversDir, files) : this.#options.user
  }

  async #findTaps(plan: ServerPlan): Promise<Tap[]> {
    if (plan.ports.length > MOST_CARDS) {
      throw new HostError('startFailed', `A server starts with at most ${MOST_CARDS} network cards.`)
    }
    return await Promise.all(plan.ports.map(({ portId }) => this.#findTap(portId)))
  }

  async #findTap(portId: string): Promise<Tap> {
    const tap = await this.#options.network.findTap(portId)
    if (tap) return tap
    throw new HostError('notPlugged', 'A network card of this server is not plugged in on its host.', {
      cause: new Error(`port ${portId} has no tap`),
    })
  }

  async #launch(plan: ServerPlan, command: readonly string[], user: User): Promise<void> {
    const { guests, greeting } = this.#ready
    const files = guests.files(plan.serverId)
    const limits = { vcpus: plan.vcpus, memoryMib: plan.ramMib + LIMIT_OVERHEAD_MIB }
    const record = startQemu({
      command,
      files,
      user,
      greeting,
      startedAt: this.#options.clock.now(),
      limits,
      onPid: (pid) => guests.limit(plan.serverId, limits, pid),
    })
    const guest = record && guests.adopt(plan.serverId, record)
    if ((await guest?.untilReady()) && (await guest?.letRun())) return
    const said = readQemuLog(files)
    if (!(await guests.end(plan.serverId))) this.#options.log.error({ serverId: plan.serverId }, 'QEMU does not end')
    throw new HostError('startFailed', 'The virtual machine could not be started.', {
      cause: new Error(said === '' ? 'QEMU ended, or did not answer, and said nothing' : said),
    })
  }

  async ensureOff(serverId: string): Promise<void> {
    await this.#locks.run(serverId, async () => {
      if (await this.#ready.guests.end(serverId)) return
      throw new HostError('unreachable', 'The server could not be stopped yet.', {
        cause: new Error(`QEMU of ${serverId} outlives SIGKILL`),
      })
    })
  }

  async pressPowerButton(serverId: string): Promise<void> {
    await this.#locks.run(serverId, async () => {
      const guest = this.#ready.guests.find(serverId)
      if (!(await guest?.untilReady())) return
      await guest?.execute('system_powerdown').catch((cause: unknown) => {
        if (guest.pid === undefined) return
        throw new HostError('unreachable', 'The server could not be asked to shut down yet.', { cause })
      })
    })
  }

  async readConsole(serverId: string, lines?: number): Promise<string> {
    const text = cleanConsole(readConsoleTail(this.#ready.guests.files(serverId)))
    return lines === undefined ? text : lastLines(text, lines)
  }

  async openVnc(serverId: string): Promise<Duplex> {
    const { guests } = this.#ready
    const files = guests.files(serverId)
    if (!guests.find(serverId) || !existsSync(files.vnc)) {
      throw new HostError('notRunning', 'The server is not running.')
    }
    return await openScreen(files.vnc)
  }

  onNudge(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Closes what is open here and disposes the network; guests run on. */
  async [Symbol.asyncDispose](): Promise<void> {
    const started = this.#started
    this.#started = undefined
    this.#isDisposed = true
    this.#listeners.clear()
    await started?.guests.release()
    await this.#options.network[Symbol.asyncDispose]()
  }

  get #ready(): Started {
    if (this.#started) return this.#started
    throw this.#isDisposed ? hostStops() : new Error('the QEMU driver is not started')
  }

  #nudge(): void {
    for (const listener of this.#listeners) listener()
  }
}
