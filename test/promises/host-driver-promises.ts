import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import {
  type DiskPlan,
  type HostDriver,
  HostError,
  MOST_CARDS,
  type PortPlan,
  type ServerPlan,
} from '../../src/host/host-driver.ts'
import { until } from '../support/until.ts'

/** A host and what a test may do to the guests on it from outside the driver. */
export interface HostWorld extends AsyncDisposable {
  readonly driver: HostDriver
  /** Plans of a server the host has never heard of. */
  newServer(): { disk: DiskPlan; server: ServerPlan }
  newPort(serverId: string): PortPlan
  withPorts(server: ServerPlan, ports: PortPlan[]): ServerPlan
  /** Disposes the driver; `driver` is then a new one on the same machine, started. */
  restart(): Promise<unknown>
  /** What identifies the guest that runs, a process id for instance; undefined when none does. */
  readGuest(serverId: string): Promise<unknown>
  /** What changes when a disk changes. */
  readDisk(serverId: string): Promise<unknown>
  /** The ports whose cards the guest has, sorted. */
  readCards(serverId: string): Promise<string[]>
  /** The disks the guest has besides the one of its image, sorted. */
  readAttached(serverId: string): Promise<string[]>
  /** Waits until the guest obeys its power button. */
  untilUp(serverId: string): Promise<void>
  powerOffFromInside(serverId: string): Promise<void>
  crash(serverId: string): Promise<void>
  /** Waits until the driver knows that the guest crashed. */
  untilGone(serverId: string): Promise<void>
  /** Plans of a server whose guest has an agent that answers, once it is up. */
  newServerWithAgent(): Promise<{ disk: DiskPlan; server: ServerPlan }>
  /** The name of a user that the guest does not have. */
  lackUser(serverId: string): Promise<string>
  /** The agent answers nothing any more. */
  silenceAgent(serverId: string): Promise<void>
  hasPassword(serverId: string, userName: string, password: string): Promise<boolean>
  /** The lines of the user's `authorized_keys`. */
  readKeys(serverId: string, userName: string): Promise<string[]>
}

export const failsAs = (failure: HostError['failure']) => (error: unknown) =>
  error instanceof HostError && error.failure === failure

/** What the conductor relies on, whatever host it speaks to. Each implementation of `HostDriver` runs all of it. */
export function hostDriverPromises(name: string, makeWorld: () => Promise<HostWorld>): void {
  const promise = (says: string, body: (world: HostWorld) => Promise<void>) =>
    test(`${name}: ${says}`, async () => {
      await using world = await makeWorld()
      await body(world)
    })

  /** A server with a disk, started. */
  async function startedServer(world: HostWorld): Promise<ServerPlan> {
    const { disk, server } = world.newServer()
    await world.driver.ensureDisk(disk)
    assert.equal(await world.driver.ensureOn(server), 'on')
    return server
  }

  promise('tells what it has, and a boot id that stays', async (world) => {
    const facts = await world.driver.readFacts()
    for (const size of [facts.vcpus, facts.ramMib, facts.diskGib]) assert.ok(Number.isInteger(size) && size > 0)
    assert.notEqual(facts.accelerator, '')
    await world.restart()
    assert.equal((await world.driver.readFacts()).bootId, facts.bootId)
  })

  promise('a server it never heard of is absent, and every verb that takes away accepts that', async (world) => {
    const { serverId } = world.newServer().server
    assert.equal(await world.driver.readPower(serverId), 'absent')
    await world.driver.ensureOff(serverId)
    await world.driver.pressPowerButton(serverId)
    await world.driver.removeDisks(serverId)
    await world.driver.removePort(world.newPort(serverId).portId)
    assert.equal(await world.driver.readConsole(serverId), '')
    assert.equal(await world.driver.readPower(serverId), 'absent')
    assert.deepEqual(await world.driver.readServers(), [])
  })

  promise('a disk makes a server that is off', async (world) => {
    const { disk } = world.newServer()
    await world.driver.ensureDisk(disk)
    assert.equal(await world.driver.readPower(disk.serverId), 'off')
    assert.deepEqual(await world.driver.readServers(), [{ serverId: disk.serverId, power: 'off' }])
  })

  promise('a disk that exists is never touched', async (world) => {
    const { disk } = world.newServer()
    await world.driver.ensureDisk(disk)
    const before = await world.readDisk(disk.serverId)
    await world.driver.ensureDisk({ ...disk, sizeGib: disk.sizeGib + 1 })
    assert.deepEqual(await world.readDisk(disk.serverId), before)
  })

  promise('starting twice, even at once, starts one guest', async (world) => {
    const { disk, server } = world.newServer()
    await world.driver.ensureDisk(disk)
    const answers = await Promise.all([1, 2, 3].map(() => world.driver.ensureOn(server)))
    assert.deepEqual(answers, ['on', 'on', 'on'])
    assert.equal(await world.driver.readPower(server.serverId), 'on')
    const guest = await world.readGuest(server.serverId)
    assert.notEqual(guest, undefined)
    await world.driver.ensureOn(server)
    assert.deepEqual(await world.readGuest(server.serverId), guest)
  })

  promise('a server without a disk does not start, and leaves no trace', async (world) => {
    const { server } = world.newServer()
    await assert.rejects(world.driver.ensureOn(server), failsAs('noDisk'))
    assert.equal(await world.driver.readPower(server.serverId), 'absent')
  })

  promise('cutting the power ends the guest and keeps disk and console; it can be asked twice', async (world) => {
    const { serverId } = await startedServer(world)
    await world.untilUp(serverId)
    await world.driver.ensureOff(serverId)
    assert.equal(await world.readGuest(serverId), undefined)
    await world.driver.ensureOff(serverId)
    assert.equal(await world.driver.readPower(serverId), 'off')
    assert.notEqual(await world.driver.readConsole(serverId), '')
    await world.readDisk(serverId)
  })

  promise('a server starts again after its power was cut', async (world) => {
    const server = await startedServer(world)
    await world.driver.ensureOff(server.serverId)
    assert.equal(await world.driver.ensureOn(server), 'on')
    assert.equal(await world.driver.readPower(server.serverId), 'on')
  })

  promise('a guest obeys its power button, and its end is noticed', async (world) => {
    const { serverId } = await startedServer(world)
    await world.untilUp(serverId)
    let nudges = 0
    world.driver.onNudge(() => nudges++)
    await world.driver.pressPowerButton(serverId)
    await until('the server is off', async () => (await world.driver.readPower(serverId)) === 'off')
    await until('the end is noticed', () => nudges > 0)
  })

  promise('the power button of a server that is off does nothing', async (world) => {
    const { disk } = world.newServer()
    await world.driver.ensureDisk(disk)
    await world.driver.pressPowerButton(disk.serverId)
    assert.equal(await world.driver.readPower(disk.serverId), 'off')
  })

  promise('a guest that shuts itself down is off, and is noticed', async (world) => {
    const { serverId } = await startedServer(world)
    await world.untilUp(serverId)
    let nudges = 0
    world.driver.onNudge(() => nudges++)
    await world.powerOffFromInside(serverId)
    await until('the end is noticed', () => nudges > 0)
    assert.equal(await world.driver.readPower(serverId), 'off')
  })

  promise('a guest that ends without wanting to has crashed, and is noticed', async (world) => {
    const { serverId } = await startedServer(world)
    let nudges = 0
    world.driver.onNudge(() => nudges++)
    await world.crash(serverId)
    await until('the end is noticed', () => nudges > 0)
    assert.equal(await world.driver.readPower(serverId), 'crashed')
    assert.deepEqual(await world.driver.readServers(), [{ serverId, power: 'crashed' }])
  })

  promise('a server that crashed starts again, or is off when that is asked for', async (world) => {
    const server = await startedServer(world)
    await world.crash(server.serverId)
    await until('it has crashed', async () => (await world.driver.readPower(server.serverId)) === 'crashed')
    assert.equal(await world.driver.ensureOn(server), 'on')
    assert.equal(await world.driver.readPower(server.serverId), 'on')
    await world.crash(server.serverId)
    await until('it has crashed', async () => (await world.driver.readPower(server.serverId)) === 'crashed')
    await world.driver.ensureOff(server.serverId)
    assert.equal(await world.driver.readPower(server.serverId), 'off')
  })

  promise('a listener that left hears nothing more', async (world) => {
    const { serverId } = await startedServer(world)
    const heard = { left: 0, stayed: 0 }
    const leave = world.driver.onNudge(() => heard.left++)
    world.driver.onNudge(() => heard.stayed++)
    leave()
    await world.crash(serverId)
    await until('the end is noticed', () => heard.stayed > 0)
    assert.equal(heard.left, 0)
  })

  promise('a new driver finds running guests again, and they are the same', async (world) => {
    const server = await startedServer(world)
    await world.untilUp(server.serverId)
    const guest = await world.readGuest(server.serverId)
    await world.restart()
    assert.deepEqual(await world.driver.readServers(), [{ serverId: server.serverId, power: 'on' }])
    assert.equal(await world.driver.ensureOn(server), 'on')
    assert.deepEqual(await world.readGuest(server.serverId), guest)
    let nudges = 0
    world.driver.onNudge(() => nudges++)
    await world.powerOffFromInside(server.serverId)
    await until('the end is noticed', () => nudges > 0)
    assert.equal(await world.driver.readPower(server.serverId), 'off')
  })

  promise('the console is bounded by lines, newest last', async (world) => {
    const { serverId } = await startedServer(world)
    await world.untilUp(serverId)
    const lines = (text: string) => text.replace(/\n$/, '').split('\n')
    const all = lines(await world.driver.readConsole(serverId))
    assert.ok(all.length > 1)
    assert.deepEqual(lines(await world.driver.readConsole(serverId, 1)), all.slice(-1))
    assert.deepEqual(lines(await world.driver.readConsole(serverId, all.length + 9)), all)
    assert.equal(await world.driver.readConsole(serverId, 0), '')
  })

  promise('removing the disks leaves no trace, and a new disk is a new server', async (world) => {
    const { disk, server } = world.newServer()
    await world.driver.ensureDisk(disk)
    await world.driver.ensureOn(server)
    await world.untilUp(server.serverId)
    await world.driver.ensureOff(server.serverId)
    await world.driver.removeDisks(server.serverId)
    assert.equal(await world.driver.readPower(server.serverId), 'absent')
    assert.equal(await world.driver.readConsole(server.serverId), '')
    assert.deepEqual(await world.driver.readServers(), [])
    await world.driver.ensureDisk(disk)
    assert.equal(await world.driver.readPower(server.serverId), 'off')
  })

  promise('the disks of a server that runs stay', async (world) => {
    const { serverId } = await startedServer(world)
    await assert.rejects(world.driver.removeDisks(serverId), failsAs('running'))
    assert.equal(await world.driver.readPower(serverId), 'on')
    await world.readDisk(serverId)
  })

  promise('the screen of a server that runs speaks RFB', async (world) => {
    const { serverId } = await startedServer(world)
    const screen = await world.driver.openVnc(serverId)
    const [greeting] = (await once(screen, 'data')) as [Buffer]
    assert.equal(greeting.toString('latin1').slice(0, 4), 'RFB ')
    screen.destroy()
  })

  promise('a screen ends with its guest', async (world) => {
    const { disk, server } = world.newServer()
    await world.driver.ensureDisk(disk)
    await world.driver.ensureOn(server)
    const screen = await world.driver.openVnc(server.serverId)
    const ended = once(screen.resume(), 'end')
    await world.driver.ensureOff(server.serverId)
    await ended
    screen.destroy()
  })

  promise('a server that is off has no screen', async (world) => {
    const { disk } = world.newServer()
    await world.driver.ensureDisk(disk)
    await assert.rejects(world.driver.openVnc(disk.serverId), failsAs('notRunning'))
  })

  promise('a serial console shows what was said, the same to all, and ends with its guest', async (world) => {
    const server = await startedServer(world)
    await world.untilUp(server.serverId)
    const [word = ''] = /[a-z]+(?=\W*$)/.exec(await world.driver.readConsole(server.serverId, 1)) ?? []
    assert.notEqual(word, '')
    const viewers = [await world.driver.openSerial(server.serverId), await world.driver.openSerial(server.serverId)]
    const seen = viewers.map((viewer) => {
      const all = { text: '' }
      viewer.on('data', (bytes: Buffer) => {
        all.text += bytes.toString('latin1')
      })
      return all
    })
    await until('both see it', () => seen.every(({ text }) => text.includes(word)))
    const before = seen.map(({ text }) => text.length)
    viewers[0]?.write('p')
    await until('both see what came of it', () => seen.every(({ text }, i) => text.length > (before[i] ?? 0)))
    const ended = viewers.map((viewer) => once(viewer, 'end'))
    await world.driver.ensureOff(server.serverId)
    await Promise.all(ended)
    await assert.rejects(world.driver.openSerial(server.serverId), failsAs('notRunning'))
  })

  promise('a port is plugged once however often it is asked for, and a guest starts on it', async (world) => {
    const { disk, server } = world.newServer()
    const port = world.newPort(server.serverId)
    try {
      await world.driver.ensureDisk(disk)
      await world.driver.ensurePort(port)
      await world.driver.ensurePort(port)
      assert.equal(await world.driver.ensureOn(world.withPorts(server, [port])), 'on')
      await world.driver.ensureOff(server.serverId)
    } finally {
      await world.driver.removePort(port.portId)
    }
    await world.driver.removePort(port.portId)
  })

  promise('a server whose port is not plugged does not start', async (world) => {
    const { disk, server } = world.newServer()
    const port = world.newPort(server.serverId)
    await world.driver.ensureDisk(disk)
    await assert.rejects(world.driver.ensureOn(world.withPorts(server, [port])), failsAs('notPlugged'))
    assert.equal(await world.driver.readPower(server.serverId), 'off')
  })

  /** `count` ports on one network; gone from the host at the end of the scope. */
  async function pluggedPorts(world: HostWorld, serverId: string, count: number) {
    const first = world.newPort(serverId)
    const subnetId = first.network.subnets[0]?.subnetId ?? ''
    const ports = Array.from({ length: count }, (_, n) => ({
      ...world.newPort(serverId),
      network: first.network,
      addresses: [{ subnetId, ipAddress: `10.77.0.${10 + n}` }],
    }))
    for (const port of ports) await world.driver.ensurePort(port)
    return {
      ports,
      async [Symbol.asyncDispose]() {
        await world.driver.ensureOff(serverId)
        for (const { portId } of ports) await world.driver.removePort(portId)
      },
    }
  }

  promise('a card comes into a guest that runs, once, however often and by whomever it is asked for', async (world) => {
    const { disk, server } = world.newServer()
    const { serverId } = server
    await using plugged = await pluggedPorts(world, serverId, 2)
    const [atStart = assert.fail(), later = assert.fail()] = plugged.ports
    const both = world.withPorts(server, [atStart, later])
    const [, card = assert.fail()] = both.ports
    const expected = [atStart.portId, later.portId].sort()
    await world.driver.ensureDisk(disk)
    await world.driver.ensureOn(world.withPorts(server, [atStart]))
    const guest = await world.readGuest(serverId)
    assert.deepEqual(await world.readCards(serverId), [atStart.portId])
    await Promise.all([1, 2].map(() => world.driver.ensureCard(serverId, card)))
    assert.deepEqual(await world.readCards(serverId), expected)
    await world.restart()
    for (const one of both.ports) await world.driver.ensureCard(serverId, one)
    assert.deepEqual(await world.readCards(serverId), expected)
    assert.equal(await world.driver.ensureOn(both), 'on')
    assert.deepEqual(await world.readGuest(serverId), guest)
  })

  promise('a server that is off, or that nobody heard of, takes and gives no card', async (world) => {
    const { disk, server } = world.newServer()
    await using plugged = await pluggedPorts(world, server.serverId, 1)
    const [card = assert.fail()] = world.withPorts(server, plugged.ports).ports
    for (const power of ['absent', 'off']) {
      assert.equal(await world.driver.readPower(server.serverId), power)
      await world.driver.ensureCard(server.serverId, card)
      await world.driver.removeCard(server.serverId, card.portId)
      assert.equal(await world.driver.readPower(server.serverId), power)
      await world.driver.ensureDisk(disk)
    }
  })

  promise('a card needs its port, and taking out one that never was does nothing', async (world) => {
    const server = await startedServer(world)
    const port = world.newPort(server.serverId)
    const [card = assert.fail()] = world.withPorts(server, [port]).ports
    await assert.rejects(world.driver.ensureCard(server.serverId, card), failsAs('notPlugged'))
    await world.driver.removeCard(server.serverId, port.portId)
    assert.deepEqual(await world.readCards(server.serverId), [])
  })

  promise('a guest takes so many cards and no more', async (world) => {
    const { disk, server } = world.newServer()
    const { serverId } = server
    await using plugged = await pluggedPorts(world, serverId, MOST_CARDS + 1)
    const cards = world.withPorts(server, plugged.ports).ports
    await world.driver.ensureDisk(disk)
    await world.driver.ensureOn({ ...server, ports: cards.slice(0, MOST_CARDS - 1) })
    const [last = assert.fail(), tooMany = assert.fail()] = cards.slice(-2)
    await world.driver.ensureCard(serverId, last)
    await assert.rejects(world.driver.ensureCard(serverId, tooMany), failsAs('startFailed'))
    assert.equal((await world.readCards(serverId)).length, MOST_CARDS)
  })
}
