/** Network cards that come and go while real guests run, seen from inside by the guest agent. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { statSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import type { CardPlan, PortPlan, ServerPlan } from '../../src/host/host-driver.ts'
import { namespaceName, tapName } from '../../src/host/linux-network/names.ts'
import { runTool } from '../../src/host/linux-network/run-tool.ts'
import { makeConsolePipe } from '../../src/host/qemu/console-writer.ts'
import { handOverTap } from '../../src/host/qemu/hand-over-tap.ts'
import { launchCommand, tapFds } from '../../src/host/qemu/launch-command.ts'
import { qemuArgs } from '../../src/host/qemu/qemu-args.ts'
import { findQemuPrograms } from '../../src/host/qemu/qemu-programs.ts'
import { readObjects } from '../../src/host/qemu/qmp-client.ts'
import { EVENT_MONITOR_GREETING, startQemu } from '../../src/host/qemu/start-qemu.ts'
import { buildTiny } from '../../src/images/tiny/build-tiny.ts'
import { until } from '../support/until.ts'
import { addressesIn } from './guest-agent.ts'
import { failsAs, newPort, QemuWorld, SECTOR_IMAGE, withPorts } from './qemu-world.ts'

const cacheDir = process.env.NOVELLA_CACHE_DIR ?? '/var/cache/novella'

/** A world whose servers get ports on one network, which are gone with it. */
async function openWorld() {
  const world = await QemuWorld.open()
  const ports: PortPlan[] = []
  const tapOf = ({ portId, networkId }: CardPlan) => ({
    namespace: namespaceName(world.dataDir, networkId),
    tapName: tapName(portId),
  })
  return {
    world,
    tapOf,
    ports,
    /** Two ports on one network, plugged in on the host, and the server with both cards. */
    async newServer(imageId: string): Promise<{ server: ServerPlan; first: CardPlan; second: CardPlan }> {
      const { disk, server } = world.newServer(imageId)
      const [one, two] = [newPort(server.serverId), newPort(server.serverId)]
      const subnetId = one.network.subnets[0]?.subnetId ?? ''
      const other = { ...two, network: one.network, addresses: [{ subnetId, ipAddress: '10.77.0.20' }] }
      ports.push(one, other)
      for (const port of [one, other]) await world.driver.ensurePort(port)
      await world.driver.ensureDisk(disk)
      const [first = assert.fail(), second = assert.fail()] = withPorts(server, [one, other]).ports
      return { server, first, second }
    },
    async [Symbol.asyncDispose]() {
      for (const { serverId } of await world.driver.readServers()) await world.driver.ensureOff(serverId)
      for (const { portId } of ports) await world.driver.removePort(portId)
      await world[Symbol.asyncDispose]()
    },
  }
}

async function openTinyWorld() {
  const tiny = await buildTiny({ cacheDir })
  const opened = await openWorld()
  await opened.world.linkImage('tiny', tiny.directory)
  return opened
}

test('a card comes with its address and goes again, as often as asked, also after a restart of Novella', async () => {
  await using opened = await openTinyWorld()
  const { world } = opened
  const { server, first, second } = await opened.newServer('tiny')
  const { serverId } = server
  const files = world.files(serverId)
  await world.driver.ensureOn({ ...server, ports: [first] })
  await until('the first card has its address', async () =>
    (await addressesIn(files))[first.macAddress]?.includes('10.77.0.10'),
  )
  for (const round of [1, 2]) {
    await world.driver.ensureCard(serverId, second)
    if (round === 2) await world.restart()
    await world.driver.ensureCard(serverId, second)
    await until('the second card has its address', async () =>
      (await addressesIn(files))[second.macAddress]?.includes('10.77.0.20'),
    )
    if (round === 2) await world.restart()
    await Promise.all([1, 2].map(() => world.driver.removeCard(serverId, second.portId)))
    assert.deepEqual(await world.readCards(serverId), [first.portId])
    assert.deepEqual(await addressesIn(files), { [first.macAddress]: ['10.77.0.10'] })
    await world.driver.removeCard(serverId, second.portId)
  }
  // The card it was started with is none but the others.
  await world.driver.ensureCard(serverId, second)
  await world.driver.removeCard(serverId, first.portId)
  await until('only the second card is left', async () => {
    const { [second.macAddress]: own, ...others } = await addressesIn(files)
    return own?.includes('10.77.0.20') && Object.keys(others).length === 0
  })
})

test('a card whose tap somebody deleted is given to the guest anew, and has its address again', async () => {
  await using opened = await openTinyWorld()
  const { world, tapOf } = opened
  const { server, first, second } = await opened.newServer('tiny')
  const { serverId } = server
  const files = world.files(serverId)
  await world.driver.ensureOn({ ...server, ports: [first, second] })
  const isWhole = async () => {
    const { [first.macAddress]: one, [second.macAddress]: two } = await addressesIn(files)
    return one?.includes('10.77.0.10') && two?.includes('10.77.0.20')
  }
  await until('both cards have their addresses', isWhole)
  const { namespace, tapName: tap } = tapOf(second)
  const numberOfTap = async () =>
    (JSON.parse(await runTool('ip', ['-n', namespace, '-json', 'link', 'show', tap])) as [{ ifindex: number }])[0]
      .ifindex
  const before = await numberOfTap()
  await runTool('ip', ['-n', namespace, 'link', 'delete', tap])
  const port = opened.ports.find(({ portId }) => portId === second.portId) ?? assert.fail()
  await world.driver.ensurePort(port)
  assert.notEqual(await numberOfTap(), before)
  const guestPid = await world.readPid(serverId)
  await until('the guest holds the new tap', async () => {
    const [link] = JSON.parse(await runTool('ip', ['-n', namespace, '-json', 'link', 'show', tap])) as [
      { flags: string[] },
    ]
    return !link.flags.includes('NO-CARRIER')
  })
  await until('both cards have their addresses again', isWhole)
  assert.equal(await world.readPid(serverId), guestPid)
  assert.deepEqual(await world.readCards(serverId), [first.portId, second.portId].sort())
})

test('cards that are plugged or asked for while the guest boots are there, or gone, once it is up', async () => {
  await using opened = await openTinyWorld()
  const { world } = opened
  const { server, first, second } = await opened.newServer('tiny')
  const { serverId } = server
  await world.driver.ensureOn({ ...server, ports: [first] })
  await world.driver.ensureCard(serverId, second)
  await assert.rejects(world.driver.removeCard(serverId, first.portId), failsAs('unreachable', /may still be starting/))
  await until('the guest has let go of it', () =>
    world.driver.removeCard(serverId, first.portId).then(
      () => true,
      (error) => assert.ok(failsAs('unreachable')(error)),
    ),
  )
  await until('the other one has its address', async () =>
    (await addressesIn(world.files(serverId)))[second.macAddress]?.includes('10.77.0.20'),
  )
  assert.deepEqual(Object.keys(await addressesIn(world.files(serverId))), [second.macAddress])
})

test('whatever half of a card an earlier Novella left, it is completed, or taken away', async () => {
  await using opened = await openWorld()
  const { world, tapOf } = opened
  const { server, first, second } = await opened.newServer(SECTOR_IMAGE)
  const { serverId } = server
  await world.driver.ensureOn(server)
  const programs = findQemuPrograms()
  const monitor = world.files(serverId).tools
  const handOver = async (card: CardPlan, netdev: string) =>
    handOverTap({ programs, tap: tapOf(card), monitor, netdev })

  // Killed between the halves: the netdev holds the tap.
  await handOver(first, `net-${first.portId}`)
  await world.driver.removeCard(serverId, first.portId)
  await handOver(first, `net-${first.portId}`)
  await world.driver.ensureCard(serverId, first)
  assert.deepEqual(await world.readCards(serverId), [first.portId])

  // Refused between the descriptor and the netdev: the descriptor would hold the tap.
  await assert.rejects(handOver(second, '1 is no id'))
  await world.driver.ensureCard(serverId, second)
  assert.deepEqual(await world.readCards(serverId), [first.portId, second.portId].sort())
})

test('a monitor that is taken makes a card wait, and the next try plugs it', async () => {
  await using opened = await openWorld()
  const { world } = opened
  const { server, first } = await opened.newServer(SECTOR_IMAGE)
  const { serverId } = server
  await world.driver.ensureOn(server)
  const other = connect(world.files(serverId).tools)
  await once(other, 'data')
  try {
    await assert.rejects(world.driver.ensureCard(serverId, first), failsAs('unreachable'))
    assert.deepEqual(await world.driver.readPower(serverId), 'on')
  } finally {
    other.destroy()
  }
  await world.driver.ensureCard(serverId, first)
  assert.deepEqual(await world.readCards(serverId), [first.portId])
})

test('the numbered cards of a guest that the first Novella started are known by their taps', async () => {
  await using opened = await openWorld()
  const { world, tapOf } = opened
  const { server, first, second } = await opened.newServer(SECTOR_IMAGE)
  const { serverId } = server
  const files = world.files(serverId)
  const taps = [tapOf(first), tapOf(second)]
  const plan = { ...server, ports: [first, second] }
  const input = { plan, files, storedDisks: [], directBoot: undefined, accelerator: 'tcg', tapFds: tapFds(2) } as const
  const args = qemuArgs({ ...input, baseDisk: join(world.imagesDir, SECTOR_IMAGE, 'disk.qcow2') }).map((word) =>
    word.replaceAll(`-${first.portId}`, '0').replaceAll(`-${second.portId}`, '1'),
  )
  const { uid, gid } = statSync(files.disk)
  const user = { uid, gid }
  const greeting = join(world.directory, 'greeting')
  writeFileSync(greeting, EVENT_MONITOR_GREETING)
  await world.leave()
  const command = launchCommand({ programs: findQemuPrograms(), taps, user, extraGid: undefined, qemuArgs: args })
  const limits = { vcpus: 1, memoryMib: 600 }
  await makeConsolePipe(files)
  startQemu({ command, files, user, greeting, startedAt: Date.now(), limits, onPid: () => {} })
  await world.restart()
  await until('it runs', async () => (await world.driver.readPower(serverId)) === 'on')
  await until('its monitor answers', () =>
    world.driver.ensureCard(serverId, second).then(
      () => true,
      () => false,
    ),
  )
  assert.deepEqual(await world.readCards(serverId), [], 'it has the card already')
  // This guest never lets go of a card; a reset takes from it what it was asked for.
  await assert.rejects(world.driver.removeCard(serverId, second.portId), failsAs('unreachable'))
  await world.askTools(serverId, 'system_reset')
  await world.driver.removeCard(serverId, second.portId)
  const devices = readObjects(await world.askTools(serverId, 'qom-list', { path: '/machine/peripheral' }))
  assert.deepEqual(
    devices.map(({ name }) => name).filter((name) => /^card/.test(String(name))),
    ['card0'],
  )
  await world.driver.ensureCard(serverId, second)
  assert.deepEqual(await world.readCards(serverId), [second.portId], 'the tap is free again')
})
