import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DEFAULT_HARDWARE } from '../../src/host/host-driver.ts'
import { MemoryDriver, newMemoryMachine } from '../../src/host/memory/memory-driver.ts'
import { newId } from '../../src/lib/ids.ts'
import { until } from '../support/until.ts'
import { POWER_OFF_KEY } from '../vm/boot-sector-guest.ts'
import { newPort, QemuWorld, withPorts } from '../vm/qemu-world.ts'
import { hostDiskPromises } from './host-disk-promises.ts'
import { type HostWorld, hostDriverPromises } from './host-driver-promises.ts'

async function openMemory(): Promise<HostWorld> {
  const filesDir = await mkdtemp(join(tmpdir(), 'novella-memory-'))
  const machine = newMemoryMachine()
  let driver = new MemoryDriver({ machine, filesDir })
  await driver.start()
  return {
    get driver() {
      return driver
    },
    newServer: () => {
      const serverId = newId()
      return {
        disk: { serverId, imageId: 'any', sizeGib: 1 },
        server: { serverId, vcpus: 1, ramMib: 64, imageId: 'any', ports: [], disks: [], hardware: DEFAULT_HARDWARE },
      }
    },
    newPort,
    withPorts,
    restart: async () => {
      await driver[Symbol.asyncDispose]()
      driver = new MemoryDriver({ machine, filesDir })
      await driver.start()
    },
    readGuest: async (serverId) => (machine.servers.get(serverId)?.power === 'on' ? serverId : undefined),
    readDisk: async (serverId) => ({ ...machine.servers.get(serverId)?.disk }),
    readAttached: async (serverId) => [...(machine.servers.get(serverId)?.disks.keys() ?? [])].sort(),
    readCards: async (serverId) => [...(machine.servers.get(serverId)?.cards.keys() ?? [])].sort(),
    untilUp: async () => {},
    powerOffFromInside: async (serverId) => driver.powerOffFromInside(serverId),
    crash: async (serverId) => driver.crash(serverId),
    untilGone: async () => {},
    async [Symbol.asyncDispose]() {
      await driver[Symbol.asyncDispose]()
      await rm(filesDir, { recursive: true })
    },
  }
}

async function openQemu(): Promise<HostWorld> {
  const world = await QemuWorld.open()
  return {
    get driver() {
      return world.driver
    },
    newServer: () => world.newServer(),
    newPort,
    withPorts,
    restart: () => world.restart(),
    readGuest: (serverId) => world.readPid(serverId),
    readDisk: (serverId) => world.readDisk(serverId),
    readCards: (serverId) => world.readCards(serverId),
    readAttached: (serverId) => world.readAttached(serverId),
    untilUp: (serverId) => world.untilUp(serverId),
    powerOffFromInside: (serverId) => world.type(serverId, POWER_OFF_KEY),
    crash: (serverId) => world.crash(serverId),
    untilGone: async (serverId) => {
      await until('it has crashed', async () => (await world.driver.readPower(serverId)) === 'crashed')
    },
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  }
}

for (const [name, open] of [
  ['memory host', openMemory],
  ['QEMU host', openQemu],
] as const) {
  hostDriverPromises(name, open)
  hostDiskPromises(name, open)
}
