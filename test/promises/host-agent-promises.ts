import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ServerPlan } from '../../src/host/host-driver.ts'
import { until } from '../support/until.ts'
import { failsAs, type HostWorld } from './host-driver-promises.ts'

const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFirst me@here'
const OTHER_KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOther you@there'

/** What is promised of the agent inside a guest, whatever host it is on. */
export function hostAgentPromises(name: string, makeWorld: () => Promise<HostWorld>): void {
  const promise = (says: string, body: (world: HostWorld) => Promise<void>) =>
    test(`${name}: ${says}`, async () => {
      await using world = await makeWorld()
      await body(world)
    })

  /** Each thing that an agent can be told. */
  const orders = ({ driver }: HostWorld, serverId: string) => [
    () => driver.setGuestPassword(serverId, 'root', 'secret'),
    () => driver.changeGuestKeys(serverId, 'root', { add: [KEY], remove: [] }),
    () => driver.setGuestClock(serverId),
  ]

  async function startWithAgent(world: HostWorld): Promise<ServerPlan> {
    const { disk, server } = await world.newServerWithAgent()
    await world.driver.ensureDisk(disk)
    assert.equal(await world.driver.ensureOn(server), 'on')
    await until('its agent answers', async () => {
      const { agent } = await world.driver.readGuestHealth(server.serverId)
      return agent === 'answers'
    })
    return server
  }

  promise('a server that is off, or that nobody heard of, has no agent', async (world) => {
    const { disk, server } = world.newServer()
    for (const power of ['absent', 'off']) {
      assert.equal(await world.driver.readPower(server.serverId), power)
      for (const order of orders(world, server.serverId)) await assert.rejects(order(), failsAs('notRunning'))
      assert.equal((await world.driver.readGuestHealth(server.serverId)).agent, 'none')
      await world.driver.ensureDisk(disk)
    }
  })

  promise('a machine without a port for an agent has none', async (world) => {
    const { disk, server } = world.newServer()
    await world.driver.ensureDisk(disk)
    await world.driver.ensureOn({ ...server, hardware: { ...server.hardware, hasAgent: false } })
    for (const order of orders(world, server.serverId)) await assert.rejects(order(), failsAs('noAgent'))
    assert.deepEqual(await world.driver.readGuestHealth(server.serverId), {
      agent: 'none',
      version: null,
      hostName: null,
      operatingSystem: null,
      fileSystems: null,
      clockOffsetMs: null,
      interfaces: [],
    })
  })

  promise('a server that runs has figures, one that does not has none', async (world) => {
    const { disk, server } = world.newServer()
    const { serverId } = server
    const port = world.newPort(serverId)
    const [card = assert.fail()] = world.withPorts(server, [port]).ports
    await assert.rejects(world.driver.readDiagnostics(serverId), failsAs('notRunning'))
    await world.driver.ensureDisk(disk)
    await world.driver.ensurePort(port)
    try {
      await assert.rejects(world.driver.readDiagnostics(serverId), failsAs('notRunning'))
      await world.driver.ensureOn(world.withPorts(server, [port]))
      await world.untilUp(serverId)
      const asked = [1, 2, 3].map(() => world.driver.readDiagnostics(serverId))
      for (const figures of await Promise.all(asked)) {
        assert.equal(figures.power, 'on')
        assert.deepEqual(
          figures.vcpus.map(({ id }) => id),
          [0],
        )
        assert.equal(figures.memory.totalMib, server.ramMib)
        assert.equal(figures.disks.length, 1)
        const [{ portId, macAddress } = assert.fail()] = figures.cards
        assert.deepEqual([portId, macAddress], [card.portId, card.macAddress])
        const counted = [figures.uptimeS, ...Object.values(figures.memory), ...figures.disks.flatMap(Object.values)]
        for (const figure of counted) assert.ok(Number.isInteger(figure) && figure >= 0, String(figure))
      }
      await world.driver.ensureOff(serverId)
    } finally {
      await world.driver.removePort(port.portId)
    }
    await assert.rejects(world.driver.readDiagnostics(serverId), failsAs('notRunning'))
  })

  promise('an agent does what it is told, and tells how its guest is, until it falls silent', async (world) => {
    const { serverId } = await startWithAgent(world)
    const { driver } = world

    const health = await driver.readGuestHealth(serverId)
    assert.match(String(health.version), /^\d+\.\d+/)
    assert.notEqual(health.hostName, null)
    assert.notEqual(health.operatingSystem, null)
    assert.equal(health.fileSystems, 'thawed')
    assert.ok(Number.isInteger(health.clockOffsetMs))
    assert.ok(health.interfaces.every(({ name: card }) => card !== 'lo'))

    for (const password of ['first of all', "next: 'one' $HOME `id` \\ \" é"]) {
      await driver.setGuestPassword(serverId, 'root', password)
      assert.equal(await world.hasPassword(serverId, 'root', password), true)
    }
    assert.equal(await world.hasPassword(serverId, 'root', 'first of all'), false)

    await driver.changeGuestKeys(serverId, 'root', { add: [KEY], remove: [] })
    await driver.changeGuestKeys(serverId, 'root', { add: [OTHER_KEY], remove: [] })
    await driver.changeGuestKeys(serverId, 'root', { add: [OTHER_KEY], remove: [] })
    assert.deepEqual(await world.readKeys(serverId, 'root'), [KEY, OTHER_KEY])
    await driver.changeGuestKeys(serverId, 'root', { add: [], remove: [KEY] })
    await driver.changeGuestKeys(serverId, 'root', { add: [], remove: [KEY] })
    assert.deepEqual(await world.readKeys(serverId, 'root'), [OTHER_KEY])
    await driver.changeGuestKeys(serverId, 'root', { add: [KEY], remove: [OTHER_KEY] })
    assert.deepEqual(await world.readKeys(serverId, 'root'), [KEY])

    const stranger = await world.lackUser(serverId)
    const keys = { add: [KEY], remove: [] }
    await assert.rejects(driver.setGuestPassword(serverId, stranger, 'secret'), failsAs('agentRefused'))
    await assert.rejects(driver.changeGuestKeys(serverId, stranger, keys), failsAs('agentRefused'))

    await driver.setGuestClock(serverId)
    const { clockOffsetMs } = await driver.readGuestHealth(serverId)
    assert.ok(Math.abs(clockOffsetMs ?? Number.NaN) < 60_000, `the clock is ${clockOffsetMs} ms off`)

    await world.silenceAgent(serverId)
    for (const order of orders(world, serverId)) await assert.rejects(order(), failsAs('noAgent'))
    assert.equal((await driver.readGuestHealth(serverId)).agent, 'silent')
    assert.equal(await driver.readPower(serverId), 'on')
  })
}
