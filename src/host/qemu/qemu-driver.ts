/**
 * A compute host on this machine: every server is a QEMU process.
 *
 * The truth is the machine itself: `servers/<serverId>/` with a disk and a run record, the process the record names,
 * and what its monitor answers. This object holds only what makes asking quick: connections to monitors, and the boot
 * queue. So it can be killed at any point and made anew (`start`), and QEMU processes live on in between.
 *
 * It does not decide who may run where, and knows images only as files; networks are behind `HostNetwork`.
 */
import { existsSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import type { ServerDiagnostics } from '../diagnostics-host.ts'
import type { GuestHealth } from '../guest-agent-host.ts'
import {
  type CardPlan,
  type DiskPlan,
  type HostDriver,
  HostError,
  type HostFacts,
  type HostServer,
  type NetworkPlan,
  type PortPlan,
  type Power,
  type RouterPlan,
  type SecurityGroupPlan,
  type ServerCard,
  type ServerPlan,
} from '../host-driver.ts'
import type {
  BlankDiskPlan,
  ImageFile,
  ImageFormat,
  ImageOrigin,
  ImagePlan,
  ServerDisk,
  StoredDisks,
  VolumePlan,
  VolumeSource,
} from '../volume-host.ts'
import type { DirectoryBackend } from '../volumes/directory-backend.ts'
import { cleanConsole, lastLines, readConsoleTail } from './console-log.ts'
import { type Guest, hostStops } from './guest.ts'
import { plugCard, unplugCard } from './guest-cards.ts'
import type { GuestInquiry } from './guest-inquiry.ts'
import { readMemory, readSpace, readVcpus } from './host-facts.ts'
import { rejectAsHostError, toHostError } from './host-failure.ts'
import { KeyedLock } from './keyed-lock.ts'
import { openScreen } from './open-screen.ts'
import type { QemuDriverOptions } from './qemu-driver-options.ts'
import { readBootId } from './run-record.ts'
import { SerialConsoles } from './serial-consoles.ts'
import { ensureOverlay } from './server-disk.ts'
import { readCardModel } from './server-hardware.ts'
import { closeSockets } from './sockets-directory.ts'
import { type StartedHost, startHost } from './start-host.ts'

/** QEMU on this machine; needs root, to put guests under limits and give up rights before QEMU starts. */
export class QemuDriver implements HostDriver {
  readonly hostName: string
  readonly #options: QemuDriverOptions
  readonly #locks = new KeyedLock()
  readonly #serials = new SerialConsoles()
  readonly #listeners = new Set<() => void>()
  #started: StartedHost | undefined
  #isDisposed = false

  constructor(options: QemuDriverOptions) {
    this.#options = options
    this.hostName = options.hostName
  }

  async start(): Promise<void> {
    if (this.#started) return
    const remade: ServerCard[] = []
    let replug = (card: ServerCard): void => void remade.push(card)
    this.#options.network.onTapRemade((card) => replug(card))
    this.#started = await startHost(this.#options, () => this.#nudge())
    replug = (card) => void this.#replug(card)
    for (const card of remade) replug(card)
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
    const { guests, disks, launcher } = this.#ready
    const { imagesDir } = this.#options
    const { serverId, imageId } = disk
    await this.#locks.run(serverId, async () => {
      const files = guests.files(serverId)
      if (existsSync(files.disk)) return
      const findUser = () => launcher.ensureUser(files)
      const make = () => ensureOverlay(disk, files, { imagesDir, findUser })
      await disks.stored.bases.use({ kind: 'image', imageId }, make).catch(rejectAsHostError)
    })
  }

  async removeDisks(serverId: string): Promise<void> {
    const { guests, disks } = this.#ready
    await this.#locks.run(serverId, async () => {
      if (guests.find(serverId)) throw new HostError('running', 'The server runs; its files stay.')
      guests.queue.leave(serverId)
      const files = guests.files(serverId)
      closeSockets(files)
      await disks.removeServer(files)
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
      const { guests, launcher, programs } = this.#ready
      const files = guests.files(serverId)
      const tap = await launcher.findTap(card)
      await plugCard(guest, card, readCardModel(files), { programs, tap, monitor: files.tools })
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
      const { guests, launcher, programs } = this.#ready
      if (!guests.find(serverId)) return
      // In one piece, so that nobody takes the card out in between.
      await this.#withRunning(serverId, async (guest) => {
        const tap = await launcher.findTap(card)
        await unplugCard(guest, portId, tap.tapName)
        const files = guests.files(serverId)
        await plugCard(guest, card, readCardModel(files), { programs, tap, monitor: files.tools })
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
    return await this.#ready.launcher.start(plan)
  }

  async ensureOff(serverId: string): Promise<void> {
    await this.#locks.run(serverId, async () => {
      const { guests, disks } = this.#ready
      if (await guests.end(serverId)) return await disks.release(guests.files(serverId))
      throw new HostError('unreachable', 'The server could not be stopped yet.', {
        cause: new Error(`QEMU of ${serverId} outlives SIGKILL`),
      })
    })
  }

  ensureImage(image: ImagePlan): Promise<void> {
    return this.#stored.ensureImage(image)
  }

  removeImage(imageId: string): Promise<void> {
    return this.#stored.removeImage(imageId)
  }

  ensureImageOf(imageId: string, origin: ImageOrigin, format?: ImageFormat): Promise<ImageFile> {
    return this.#stored.ensureImageOf(imageId, origin, format)
  }

  ensureVolume(volume: VolumePlan): Promise<void> {
    return this.#stored.ensureVolume(volume)
  }

  removeVolume(volumeId: string): Promise<void> {
    return this.#stored.removeVolume(volumeId)
  }

  ensureVolumeSize(volumeId: string, sizeGib: number): Promise<void> {
    return this.#stored.ensureVolumeSize(volumeId, sizeGib)
  }

  ensureSnapshot(snapshotId: string, volumeId: string): Promise<void> {
    return this.#stored.ensureSnapshot(snapshotId, volumeId)
  }

  removeSnapshot(snapshotId: string): Promise<void> {
    return this.#stored.removeSnapshot(snapshotId)
  }

  resetVolume(volumeId: string, source: VolumeSource): Promise<void> {
    return this.#stored.resetVolume(volumeId, source)
  }

  readDisks(): Promise<StoredDisks> {
    return this.#stored.readDisks()
  }

  async ensureBlankDisk(disk: BlankDiskPlan): Promise<void> {
    const { disks } = this.#ready
    await this.#locks.run(disk.serverId, () => disks.ensureBlankDisk(disk).catch(rejectAsHostError))
  }

  async ensureAttached(serverId: string, disk: ServerDisk): Promise<void> {
    const { disks } = this.#ready
    await this.#withRunning(serverId, (guest) => disks.attach(serverId, guest, disk))
  }

  async removeAttached(serverId: string, volumeId: string): Promise<void> {
    const { disks } = this.#ready
    await this.#withRunning(serverId, (guest) => disks.detach(guest, volumeId))
  }

  async setGuestPassword(serverId: string, userName: string, password: string): Promise<void> {
    await (await this.#inquire()).talks.setGuestPassword(serverId, userName, password)
  }

  async changeGuestKeys(serverId: string, userName: string, keys: { add: string[]; remove: string[] }): Promise<void> {
    await (await this.#inquire()).talks.changeGuestKeys(serverId, userName, keys)
  }

  async setGuestClock(serverId: string): Promise<void> {
    await (await this.#inquire()).talks.setGuestClock(serverId)
  }

  async readGuestHealth(serverId: string): Promise<GuestHealth> {
    return await (await this.#inquire()).talks.readGuestHealth(serverId)
  }

  async readDiagnostics(serverId: string): Promise<ServerDiagnostics> {
    return await (await this.#inquire()).diagnostics.readDiagnostics(serverId)
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

  async openSerial(serverId: string): Promise<Duplex> {
    const { guests } = this.#ready
    if (!guests.find(serverId)) throw new HostError('notRunning', 'The server is not running.')
    return this.#serials.open(serverId, guests.files(serverId), () => guests.find(serverId) !== undefined)
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
    this.#serials.close()
    await started?.guests.release()
    await this.#options.network[Symbol.asyncDispose]()
  }

  get #ready(): StartedHost {
    if (this.#started) return this.#started
    throw this.#isDisposed ? hostStops() : new Error('the QEMU driver is not started')
  }

  #inquire(): Promise<GuestInquiry> {
    return this.#ready.inquire()
  }

  get #stored(): DirectoryBackend {
    return this.#ready.disks.stored
  }

  #nudge(): void {
    for (const listener of this.#listeners) listener()
  }
}
