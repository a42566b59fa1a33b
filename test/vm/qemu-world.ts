import assert from 'node:assert/strict'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import {
  DEFAULT_HARDWARE,
  type DiskPlan,
  HostError,
  type PortPlan,
  type ServerPlan,
} from '../../src/host/host-driver.ts'
import { LinuxNetwork } from '../../src/host/linux-network/linux-network.ts'
import { QemuDriver } from '../../src/host/qemu/qemu-driver.ts'
import type { QemuDriverOptions } from '../../src/host/qemu/qemu-driver-options.ts'
import { QmpClient, readObjects } from '../../src/host/qemu/qmp-client.ts'
import { type RunRecord, readStartTicks } from '../../src/host/qemu/run-record.ts'
import { type ServerFiles, serverFiles } from '../../src/host/qemu/server-files.ts'
import { run } from '../../src/host/run-program.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { newId, newMacAddress } from '../../src/lib/ids.ts'
import { until } from '../support/until.ts'
import { bootSectorGuest } from './boot-sector-guest.ts'

/** An unprivileged user that owns nothing on the machine. */
export const GUEST_USER = { uid: 64_055, gid: 64_055 }

/** The image of `bootSectorGuest`. */
export const SECTOR_IMAGE = 'sector'

/** A QEMU host in a directory of its own, with its network; leaves nothing behind when disposed. */
export class QemuWorld implements AsyncDisposable {
  readonly directory: string
  readonly #options: Partial<QemuDriverOptions>
  #driver: QemuDriver | undefined

  private constructor(directory: string, options: Partial<QemuDriverOptions>) {
    this.directory = directory
    this.#options = options
  }

  static async open(options: Partial<QemuDriverOptions> = {}): Promise<QemuWorld> {
    const directory = await mkdtemp(join(tmpdir(), 'novella-qemu-'))
    await chmod(directory, 0o755)
    const world = new QemuWorld(directory, options)
    try {
      await world.#makeSectorImage()
      await world.restart()
      return world
    } catch (error) {
      await world[Symbol.asyncDispose]()
      throw error
    }
  }

  get driver(): QemuDriver {
    if (!this.#driver) throw new Error('the world has no driver')
    return this.#driver
  }

  get dataDir(): string {
    return join(this.directory, 'data')
  }

  get imagesDir(): string {
    return join(this.directory, 'images')
  }

  /** A driver on the state of a world, not started. */
  static driverOn(directory: string, options: Partial<QemuDriverOptions> = {}): QemuDriver {
    const log = pino({ level: 'silent' })
    const dataDir = join(directory, 'data')
    const answerMetadata = async () => ({ status: 404, contentType: 'text/plain', body: '' })
    return new QemuDriver({
      dataDir,
      imagesDir: join(directory, 'images'),
      hostName: 'qemu-host',
      accelerator: 'tcg',
      concurrentBoots: 8,
      user: GUEST_USER,
      network: new LinuxNetwork({ dataDir, tapUser: GUEST_USER, answerMetadata, log }),
      clock: systemClock,
      log,
      ...options,
    })
  }

  /** Disposes the driver; guests run on unwatched. */
  async leave(): Promise<void> {
    await this.#driver?.[Symbol.asyncDispose]()
    this.#driver = undefined
  }

  /** Disposes the driver and starts a new one on the same state; `options` count for that one only. */
  async restart(options: Partial<QemuDriverOptions> = {}): Promise<QemuDriver> {
    await this.leave()
    this.#driver = QemuWorld.driverOn(this.directory, { ...this.#options, ...options })
    await this.#driver.start()
    return this.#driver
  }

  /** Puts an image that lies elsewhere among this world's images. */
  async linkImage(imageId: string, directory: string): Promise<void> {
    await symlink(directory, join(this.imagesDir, imageId))
  }

  newServer(imageId = SECTOR_IMAGE): { disk: DiskPlan; server: ServerPlan } {
    const serverId = newId()
    return {
      disk: { serverId, imageId, sizeGib: 1 },
      server: {
        serverId,
        vcpus: 1,
        ramMib: imageId === SECTOR_IMAGE ? 32 : 128,
        imageId,
        ports: [],
        disks: [],
        hardware: DEFAULT_HARDWARE,
      },
    }
  }

  files(serverId: string): ServerFiles {
    return serverFiles(join(this.dataDir, 'servers'), serverId)
  }

  /** The process id of the server's guest; undefined when it does not run. */
  async readPid(serverId: string): Promise<number | undefined> {
    const text = await readFile(this.files(serverId).record, 'utf8').catch(() => undefined)
    const { pid } = JSON.parse(text ?? '{"pid": null}') as RunRecord
    return pid !== null && readStartTicks(pid) !== undefined ? pid : undefined
  }

  /** Kills the guest's process, as a bug of QEMU or the kernel short of memory would. */
  async crash(serverId: string): Promise<void> {
    const pid = await this.readPid(serverId)
    if (pid === undefined) throw new Error('the guest does not run')
    process.kill(pid, 'SIGKILL')
  }

  /** Types on the guest's serial console. */
  async type(serverId: string, keys: string): Promise<void> {
    await typeTo(this.files(serverId), keys)
  }

  /** The boot sector guest listens. */
  async untilUp(serverId: string): Promise<void> {
    await until('the guest greets', async () => (await this.driver.readConsole(serverId, 1)).includes('ready>'))
  }

  /** One command on the monitor that is kept for tools. */
  async askTools(serverId: string, command: string, args: object = {}): Promise<unknown> {
    const client = await QmpClient.connect(this.files(serverId).tools, () => {}, AbortSignal.timeout(10_000))
    try {
      return await client.execute(command, args)
    } finally {
      client.close()
    }
  }

  /** The ports whose cards QEMU has, sorted. */
  readCards(serverId: string): Promise<string[]> {
    return this.#readDevices(serverId, 'card-')
  }

  /** The volumes and local disks QEMU has, sorted. */
  readAttached(serverId: string): Promise<string[]> {
    return this.#readDevices(serverId, 'disk-')
  }

  async #readDevices(serverId: string, prefix: string): Promise<string[]> {
    const devices = readObjects(await this.askTools(serverId, 'qom-list', { path: '/machine/peripheral' }))
    const names = devices.map(({ name }) => String(name)).filter((name) => name.startsWith(prefix))
    return names.map((name) => name.slice(prefix.length)).sort()
  }

  /** What tells one disk from another: file and content. */
  async readDisk(serverId: string): Promise<unknown> {
    const path = this.files(serverId).disk
    const { ino, size, mtimeMs } = await stat(path)
    return { ino, size, mtimeMs, bytes: (await readFile(path)).toString('base64') }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      const driver = this.#driver ?? (await this.restart())
      for (const { serverId } of await driver.readServers()) await driver.ensureOff(serverId)
      await this.leave()
    } finally {
      await rm(this.directory, { recursive: true, force: true })
    }
  }

  async #makeSectorImage(): Promise<void> {
    const directory = join(this.imagesDir, SECTOR_IMAGE)
    await mkdir(directory, { recursive: true })
    const raw = join(this.directory, 'sector.raw')
    await writeFile(raw, Buffer.concat([bootSectorGuest(), Buffer.alloc(1024 * 1024 - 512)]))
    await run(['/usr/bin/qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', raw, join(directory, 'disk.qcow2')], {
      timeoutMs: 60_000,
    })
    await rm(raw)
  }
}

/** Types on the serial console of a guest that runs. */
export async function typeTo({ serial }: ServerFiles, keys: string): Promise<void> {
  const socket: Socket = connect(serial)
  await once(socket, 'connect')
  await new Promise<void>((resolve) => socket.end(keys, () => resolve()))
}

/** A port of a server on a network of its own, with one address. */
export function newPort(serverId: string, network = newId()): PortPlan {
  const subnetId = newId()
  return {
    portId: newId(),
    serverId,
    macAddress: newMacAddress(),
    hostName: 'guest',
    addresses: [{ subnetId, ipAddress: '10.77.0.10' }],
    network: {
      networkId: network,
      mtu: 1450,
      isUp: true,
      isExternal: false,
      subnets: [
        {
          subnetId,
          cidr: '10.77.0.0/24',
          ipVersion: 4,
          gatewayIp: '10.77.0.1',
          dhcpAddress: '10.77.0.2',
          dnsNameservers: [],
          hostRoutes: [],
          ipv6Mode: null,
        },
      ],
    },
    isUp: true,
    antiSpoofing: true,
    allowedAddresses: [],
    dhcpOptions: [],
    securityGroups: [],
  }
}

/** A server's plan with these ports. */
export const withPorts = (server: ServerPlan, ports: PortPlan[]): ServerPlan => ({
  ...server,
  ports: ports.map(({ portId, macAddress, network }) => ({
    portId,
    macAddress,
    networkId: network.networkId,
    mtu: network.mtu,
  })),
})

/** Whether an error is a HostError of this kind whose message matches. */
export const failsAs =
  (failure: HostError['failure'], message = /./) =>
  (error: unknown): boolean =>
    error instanceof HostError && error.failure === failure && message.test(error.message)

/** A server with a disk, started. */
export async function startedServer(world: QemuWorld, imageId?: string): Promise<{ server: ServerPlan; pid: number }> {
  const { disk, server } = world.newServer(imageId)
  await world.driver.ensureDisk(disk)
  assert.equal(await world.driver.ensureOn(server), 'on')
  const pid = await world.readPid(server.serverId)
  assert.ok(pid !== undefined)
  return { server, pid }
}

/** How often the boot sector guest greeted in a console. */
export const greetings = (text: string): number => text.split('ready>').length - 1
