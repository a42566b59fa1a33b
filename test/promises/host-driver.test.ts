import { DEFAULT_HARDWARE } from '../../src/host/host-driver.ts'
import { MemoryDriver, newMemoryMachine } from '../../src/host/memory/memory-driver.ts'
import { newId } from '../../src/lib/ids.ts'
import { POWER_OFF_KEY } from '../vm/boot-sector-guest.ts'
import { newPort, QemuWorld, withPorts } from '../vm/qemu-world.ts'
import { type HostWorld, hostDriverPromises } from './host-driver-promises.ts'

hostDriverPromises('memory host', async (): Promise<HostWorld> => {
  const machine = newMemoryMachine()
  let driver = new MemoryDriver({ machine })
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
      driver = new MemoryDriver({ machine })
      await driver.start()
    },
    readGuest: async (serverId) => (machine.servers.get(serverId)?.power === 'on' ? serverId : undefined),
    readDisk: async (serverId) => ({ ...machine.servers.get(serverId)?.disk }),
    readCards: async (serverId) => [...(machine.servers.get(serverId)?.cards.keys() ?? [])].sort(),
    untilUp: async () => {},
    powerOffFromInside: async (serverId) => driver.powerOffFromInside(serverId),
    crash: async (serverId) => driver.crash(serverId),
    [Symbol.asyncDispose]: () => driver[Symbol.asyncDispose](),
  }
})

hostDriverPromises('QEMU host', async (): Promise<HostWorld> => {
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
    untilUp: (serverId) => world.untilUp(serverId),
    powerOffFromInside: (serverId) => world.type(serverId, POWER_OFF_KEY),
    crash: (serverId) => world.crash(serverId),
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  }
})
