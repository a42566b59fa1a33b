import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DEFAULT_HARDWARE } from '../../src/host/host-driver.ts'
import { MemoryDriver } from '../../src/host/memory/memory-driver.ts'
import { newMemoryMachine } from '../../src/host/memory/memory-machine.ts'
import { buildTiny } from '../../src/images/tiny/build-tiny.ts'
import { newId } from '../../src/lib/ids.ts'
import { until } from '../support/until.ts'
import { run } from '../vm/bare-guest.ts'
import { POWER_OFF_KEY } from '../vm/boot-sector-guest.ts'
import { shellIn } from '../vm/guest-agent.ts'
import { newPort, QemuWorld, withPorts } from '../vm/qemu-world.ts'
import { hostAgentPromises } from './host-agent-promises.ts'
import { hostDiskPromises } from './host-disk-promises.ts'
import { type HostWorld, hostDriverPromises } from './host-driver-promises.ts'

async function openMemory(): Promise<HostWorld> {
  const filesDir = await mkdtemp(join(tmpdir(), 'novella-memory-'))
  const machine = newMemoryMachine()
  let driver = new MemoryDriver({ machine, filesDir })
  await driver.start()
  const world: HostWorld = {
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
    newServerWithAgent: async () => world.newServer(),
    lackUser: async (serverId) => {
      driver.agentOf(serverId).missingUsers.add('stranger')
      return 'stranger'
    },
    silenceAgent: async (serverId) => {
      driver.agentOf(serverId).mood = 'silent'
    },
    hasPassword: async (serverId, userName, password) => driver.agentOf(serverId).passwords.get(userName) === password,
    readKeys: async (serverId, userName) => driver.agentOf(serverId).keys.get(userName) ?? [],
    async [Symbol.asyncDispose]() {
      await driver[Symbol.asyncDispose]()
      await rm(filesDir, { recursive: true })
    },
  }
  return world
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
    newServerWithAgent: async () => {
      const tiny = await buildTiny({ cacheDir: process.env.NOVELLA_CACHE_DIR ?? '/var/cache/novella' })
      await world.linkImage('tiny', tiny.directory)
      return world.newServer('tiny')
    },
    lackUser: async () => 'stranger',
    silenceAgent: async (serverId) => {
      // After it has answered that it will.
      await shellIn(world.files(serverId), '(sleep 1; kill -STOP $(pidof qemu-ga)) >/dev/null 2>&1 &')
      await until('the agent is silent', async () => {
        const { agent } = await world.driver.readGuestHealth(serverId)
        return agent === 'silent'
      })
    },
    hasPassword: async (serverId, userName, password) => {
      const line = await shellIn(world.files(serverId), `grep '^${userName}:' /etc/shadow`)
      const [hash = '', salt = ''] = line.match(/\$6\$([^$]*)\$[^:]*/) ?? []
      return (await run('openssl', ['passwd', '-6', '-salt', salt, password])).stdout.trim() === hash
    },
    readKeys: async (serverId, userName) => {
      assert.equal(userName, 'root')
      return (await shellIn(world.files(serverId), 'cat /root/.ssh/authorized_keys')).split('\n').filter(Boolean)
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
  hostAgentPromises(name, open)
}
