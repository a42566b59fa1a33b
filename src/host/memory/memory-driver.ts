/**
 * A compute host in memory: the promises of `HostDriver` without guests, for ten thousand servers at test speed.
 * Tests turn its time (a `ManualClock`) and its faults (`intercept`, `crash`, `powerOffFromInside`).
 */
import type { Duplex } from 'node:stream'
import { type Clock, systemClock } from '../../lib/clock.ts'
import type { ServerDiagnostics } from '../diagnostics-host.ts'
import type { GuestHealth } from '../guest-agent-host.ts'
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
import { type MemoryAgent, MemoryAgents } from './memory-agents.ts'
import { memoryDiagnostics } from './memory-diagnostics.ts'
import { MemoryDisks } from './memory-disks.ts'
import {
  type MemoryMachine,
  type MemoryServer,
  newMemoryMachine,
  newMemoryServer,
  rebootMachine,
} from './memory-machine.ts'
import { memoryScreen } from './memory-screen.ts'
import { MemorySerials } from './memory-serial.ts'

/** Lines of console a server keeps. */
const CONSOLE_LINES = 10_000

/** Stands between a verb and its effect: may throw before (the call is lost) or after `run` (the answer is lost). */
export type Intercept = <T>(verb: string, id: string, run: () => Promise<T>) => Promise<T>

export interface MemoryDriverOptions {
  hostName?: string
  clock?: Clock
  machine?: MemoryMachine
  facts?: Partial<HostFacts>
  /** How long a guest takes to obey its power button, in milliseconds; Infinity for one that ignores it. */
  shutdownMs?: number
  intercept?: Intercept
  /** Where images made of disks are written. */
  filesDir?: string
}

export class MemoryDriver implements HostDriver {
  readonly hostName: string
  readonly machine: MemoryMachine
  intercept: Intercept
  shutdownMs: number
  readonly #clock: Clock
  readonly #facts: Partial<HostFacts>
  readonly #listeners = new Set<() => void>()
  readonly #disks: MemoryDisks
  readonly #agents: MemoryAgents
  /** Open screens, by server. */
  readonly #screens = new Map<string, Set<Duplex>>()
  readonly #serials = new MemorySerials()

  constructor(options: MemoryDriverOptions = {}) {
    this.hostName = options.hostName ?? 'memory-host'
    this.machine = options.machine ?? newMemoryMachine()
    this.intercept = options.intercept ?? ((_verb, _id, run) => run())
    this.shutdownMs = options.shutdownMs ?? 0
    this.#clock = options.clock ?? systemClock
    this.#facts = options.facts ?? {}
    this.#disks = new MemoryDisks(this.machine, options.filesDir)
    this.#agents = new MemoryAgents(this.machine, this.#clock)
  }

  async start(): Promise<void> {}

  async readFacts(): Promise<HostFacts> {
    const size = { vcpus: 1_000_000, ramMib: 1_000_000_000, diskGib: 1_000_000_000 }
    return { ...size, bootId: this.machine.bootId, accelerator: 'memory', ...this.#facts }
  }

  readServers(): Promise<HostServer[]> {
    return this.intercept('readServers', '', async () =>
      [...this.machine.servers].map(([serverId, { power }]) => ({ serverId, power })),
    )
  }

  readPower(serverId: string): Promise<Power> {
    return this.intercept('readPower', serverId, async () => this.machine.servers.get(serverId)?.power ?? 'absent')
  }

  ensureDisk(disk: DiskPlan): Promise<void> {
    return this.intercept('ensureDisk', disk.serverId, async () => {
      this.#ensureServer(disk.serverId).disk ??= disk
    })
  }

  #ensureServer(serverId: string): MemoryServer {
    const server = this.machine.servers.get(serverId) ?? newMemoryServer()
    this.machine.servers.set(serverId, server)
    return server
  }

  removeDisks(serverId: string): Promise<void> {
    return this.intercept('removeDisks', serverId, async () => {
      if (this.machine.servers.get(serverId)?.power === 'on') {
        throw new HostError('running', 'The server runs; its files stay.')
      }
      this.machine.servers.delete(serverId)
      this.#disks.serverIsGone()
    })
  }

  ensurePort(port: PortPlan): Promise<void> {
    return this.intercept('ensurePort', port.portId, async () => {
      this.machine.ports.set(port.portId, port)
      this.machine.networks.set(port.network.networkId, port.network)
      for (const group of port.securityGroups ?? []) this.machine.securityGroups.set(group.groupId, group)
    })
  }

  removePort(portId: string): Promise<void> {
    return this.intercept('removePort', portId, async () => {
      this.machine.ports.delete(portId)
    })
  }

  ensureNetwork(network: NetworkPlan): Promise<void> {
    return this.intercept('ensureNetwork', network.networkId, async () => {
      if (this.machine.networks.has(network.networkId)) this.machine.networks.set(network.networkId, network)
    })
  }

  ensureSecurityGroup(group: SecurityGroupPlan): Promise<void> {
    return this.intercept('ensureSecurityGroup', group.groupId, async () => {
      if (this.machine.securityGroups.has(group.groupId)) this.machine.securityGroups.set(group.groupId, group)
    })
  }

  ensureRouter(router: RouterPlan): Promise<void> {
    return this.intercept('ensureRouter', router.routerId, async () => {
      this.machine.routers.set(router.routerId, router)
      for (const { network } of [...router.interfaces, ...(router.gateway ? [router.gateway] : [])]) {
        this.machine.networks.set(network.networkId, network)
      }
    })
  }

  removeRouter(routerId: string): Promise<void> {
    return this.intercept('removeRouter', routerId, async () => {
      this.machine.routers.delete(routerId)
    })
  }

  readNetworking(): Promise<{ portIds: string[]; routerIds: string[] }> {
    return this.intercept('readNetworking', '', async () => ({
      portIds: [...this.machine.ports.keys()],
      routerIds: [...this.machine.routers.keys()],
    }))
  }

  ensureCard(serverId: string, card: CardPlan): Promise<void> {
    return this.intercept('ensureCard', serverId, async () => {
      const server = this.machine.servers.get(serverId)
      if (server?.power !== 'on' || server.cards.has(card.portId)) return
      if (!this.machine.ports.has(card.portId)) {
        throw new HostError('notPlugged', 'A network card of this server is not plugged in on its host.')
      }
      if (server.cards.size >= MOST_CARDS) throw new HostError('startFailed', 'The server takes no more network cards.')
      server.cards.set(card.portId, card)
    })
  }

  removeCard(serverId: string, portId: string): Promise<void> {
    return this.intercept('removeCard', serverId, async () => {
      this.machine.servers.get(serverId)?.cards.delete(portId)
    })
  }

  ensureOn(plan: ServerPlan): Promise<'on' | 'queued'> {
    return this.intercept<'on' | 'queued'>('ensureOn', plan.serverId, async () => {
      if (plan.imageId !== null && !this.machine.servers.get(plan.serverId)?.disk) {
        throw new HostError('noDisk', 'The disk of this server is missing on its host.')
      }
      this.#disks.demandAll(this.machine.servers.get(plan.serverId), plan.disks)
      for (const { portId } of plan.ports) {
        if (!this.machine.ports.has(portId)) {
          throw new HostError('notPlugged', 'A network card of this server is not plugged in on its host.')
        }
      }
      const server = this.#ensureServer(plan.serverId)
      if (server.power !== 'on') {
        server.power = 'on'
        server.cards = new Map(plan.ports.map((card) => [card.portId, card]))
        server.disks = new Map(plan.disks.map((disk) => [disk.diskId, disk]))
        server.plan = plan
        server.startedAt = this.#clock.now()
        this.#print(server, `[    0.000000] booting ${plan.serverId}`, `${plan.serverId} login: `)
      }
      return 'on'
    })
  }

  ensureOff(serverId: string): Promise<void> {
    return this.intercept('ensureOff', serverId, async () => {
      const server = this.machine.servers.get(serverId)
      if (server?.power === 'crashed') {
        server.power = 'off'
        server.disks.clear()
      } else this.#end(serverId, 'off')
    })
  }

  setGuestPassword(serverId: string, userName: string, password: string): Promise<void> {
    const set = async () => this.#agents.setGuestPassword(serverId, userName, password)
    return this.intercept('setGuestPassword', serverId, set)
  }

  changeGuestKeys(serverId: string, userName: string, keys: { add: string[]; remove: string[] }): Promise<void> {
    const change = async () => this.#agents.changeGuestKeys(serverId, userName, keys)
    return this.intercept('changeGuestKeys', serverId, change)
  }

  setGuestClock(serverId: string): Promise<void> {
    return this.intercept('setGuestClock', serverId, async () => this.#agents.setGuestClock(serverId))
  }

  readGuestHealth(serverId: string): Promise<GuestHealth> {
    return this.intercept('readGuestHealth', serverId, async () => this.#agents.readGuestHealth(serverId))
  }

  readDiagnostics(serverId: string): Promise<ServerDiagnostics> {
    return this.intercept('readDiagnostics', serverId, async () =>
      memoryDiagnostics(this.machine.servers.get(serverId), this.#clock.now()),
    )
  }

  pressPowerButton(serverId: string): Promise<void> {
    return this.intercept('pressPowerButton', serverId, async () => {
      if (this.machine.servers.get(serverId)?.power !== 'on') return
      if (this.shutdownMs === 0) this.#end(serverId, 'off')
      else if (this.shutdownMs < Infinity) this.#clock.after(this.shutdownMs, () => this.#end(serverId, 'off'))
    })
  }

  readConsole(serverId: string, lines?: number): Promise<string> {
    return this.intercept('readConsole', serverId, async () => {
      const all = this.machine.servers.get(serverId)?.console ?? []
      return (lines === undefined ? all : lines === 0 ? [] : all.slice(-lines)).join('\n')
    })
  }

  openVnc(serverId: string): Promise<Duplex> {
    return this.intercept('openVnc', serverId, async () => {
      if (this.machine.servers.get(serverId)?.power !== 'on') {
        throw new HostError('notRunning', 'The server is not running.')
      }
      const screen = memoryScreen(serverId)
      const screens = this.#screens.get(serverId) ?? new Set()
      this.#screens.set(serverId, screens.add(screen))
      screen.once('close', () => screens.delete(screen))
      return screen
    })
  }

  openSerial(serverId: string): Promise<Duplex> {
    return this.intercept('openSerial', serverId, async () => {
      const server = this.machine.servers.get(serverId)
      if (server?.power !== 'on') throw new HostError('notRunning', 'The server is not running.')
      return this.#serials.open(serverId, server.console.join('\r\n'))
    })
  }

  ensureImage(image: ImagePlan): Promise<void> {
    return this.intercept('ensureImage', image.imageId, () => this.#disks.ensureImage(image))
  }

  removeImage(imageId: string): Promise<void> {
    return this.intercept('removeImage', imageId, () => this.#disks.removeImage(imageId))
  }

  ensureImageOf(imageId: string, origin: ImageOrigin, format?: ImageFormat): Promise<ImageFile> {
    return this.intercept('ensureImageOf', imageId, () => this.#disks.ensureImageOf(imageId, origin, format))
  }

  ensureVolume(volume: VolumePlan): Promise<void> {
    return this.intercept('ensureVolume', volume.volumeId, () => this.#disks.ensureVolume(volume))
  }

  removeVolume(volumeId: string): Promise<void> {
    return this.intercept('removeVolume', volumeId, () => this.#disks.removeVolume(volumeId))
  }

  ensureVolumeSize(volumeId: string, sizeGib: number): Promise<void> {
    return this.intercept('ensureVolumeSize', volumeId, () => this.#disks.ensureVolumeSize(volumeId, sizeGib))
  }

  ensureSnapshot(snapshotId: string, volumeId: string): Promise<void> {
    return this.intercept('ensureSnapshot', snapshotId, () => this.#disks.ensureSnapshot(snapshotId, volumeId))
  }

  removeSnapshot(snapshotId: string): Promise<void> {
    return this.intercept('removeSnapshot', snapshotId, () => this.#disks.removeSnapshot(snapshotId))
  }

  resetVolume(volumeId: string, source: VolumeSource): Promise<void> {
    return this.intercept('resetVolume', volumeId, () => this.#disks.resetVolume(volumeId, source))
  }

  ensureBlankDisk(disk: BlankDiskPlan): Promise<void> {
    return this.intercept('ensureBlankDisk', disk.serverId, async () => {
      const { blankDisks } = this.#ensureServer(disk.serverId)
      if (!blankDisks.has(disk.diskId)) blankDisks.set(disk.diskId, disk)
    })
  }

  ensureAttached(serverId: string, disk: ServerDisk): Promise<void> {
    return this.intercept('ensureAttached', serverId, async () => this.#disks.ensureAttached(serverId, disk))
  }

  removeAttached(serverId: string, volumeId: string): Promise<void> {
    return this.intercept('removeAttached', serverId, async () => this.#disks.removeAttached(serverId, volumeId))
  }

  readDisks(): Promise<StoredDisks> {
    return this.intercept('readDisks', '', () => this.#disks.readDisks())
  }

  onNudge(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** The guest shuts itself down. */
  powerOffFromInside(serverId: string): void {
    this.#end(serverId, 'off')
  }

  /** The guest ends without having been asked to. */
  crash(serverId: string): void {
    this.#end(serverId, 'crashed')
  }

  /** The machine restarts: every guest and every port is gone, the disks are there. */
  rebootMachine = (): void => rebootMachine(this.machine)

  /**
   * What a guest's agent is like, and what it was told: tests change the one and look at the other.
   * @throws Error for a server the host has no trace of.
   */
  agentOf(serverId: string): MemoryAgent {
    const server = this.machine.servers.get(serverId)
    if (!server) throw new Error(`there is no server ${serverId}`)
    return server.agent
  }

  /** Writes to the serial console of a guest. */
  print(serverId: string, ...lines: string[]): void {
    const server = this.machine.servers.get(serverId)
    if (server) this.#print(server, ...lines)
  }

  #print(server: MemoryServer, ...lines: string[]): void {
    server.console.push(...lines)
    if (server.console.length > CONSOLE_LINES) server.console.splice(0, server.console.length - CONSOLE_LINES)
  }

  #end(serverId: string, power: 'off' | 'crashed'): void {
    const server = this.machine.servers.get(serverId)
    if (server?.power !== 'on') return
    server.power = power
    server.cards.clear()
    server.disks.clear()
    for (const screen of this.#screens.get(serverId) ?? []) screen.push(null)
    this.#screens.delete(serverId)
    this.#serials.end(serverId)
    for (const listener of this.#listeners) listener()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listeners.clear()
  }
}
