/** What a host asks of the system inside a guest, seen from inside: by ssh, and by what Debian's own agent answers. */
import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { pino } from 'pino'
import { namespaceName } from '../../src/host/linux-network/names.ts'
import type { QemuDriver } from '../../src/host/qemu/qemu-driver.ts'
import { buildTiny } from '../../src/images/tiny/build-tiny.ts'
import { newId } from '../../src/lib/ids.ts'
import { until } from '../support/until.ts'
import { run } from './bare-guest.ts'
import { failsAs, newPort, QemuWorld, withPorts } from './qemu-world.ts'
import { type Credentials, letsIn, ssh } from './ssh.ts'

const cacheDir = process.env.NOVELLA_CACHE_DIR ?? '/var/cache/novella'
const ADDRESS = '10.77.0.10'

/** One real guest with a card, whose agent answers, and ssh into it. */
async function openGuest() {
  const tiny = await buildTiny({ cacheDir })
  const logged: string[] = []
  const log = pino({ level: 'trace' }, { write: (line: string) => void logged.push(line) })
  const world = await QemuWorld.open({ log })
  await world.linkImage('tiny', tiny.directory)
  const { disk, server } = world.newServer('tiny')
  const { serverId } = server
  const port = { ...newPort(serverId), securityGroups: null }
  const login = {
    namespace: namespaceName(world.dataDir, port.network.networkId),
    userName: 'root',
    address: ADDRESS,
  }
  const guest = {
    world,
    serverId,
    port,
    logged,
    ssh: (credentials: Credentials, command: string) => ssh(login, credentials, command),
    letsIn: (credentials: Credentials) => letsIn(login, credentials),
    get driver(): QemuDriver {
      return world.driver
    },
    /** A new key pair's file. */
    async makeKey(name: string): Promise<{ keyFile: string; publicKey: string }> {
      const keyFile = join(world.directory, name)
      await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', keyFile])
      return { keyFile, publicKey: (await run('cat', [`${keyFile}.pub`])).stdout.trim() }
    },
    untilAgent: () =>
      until('its agent tells its address', async () => {
        const { interfaces } = await world.driver.readGuestHealth(serverId)
        return interfaces.some(({ ipAddresses }) => ipAddresses.includes(ADDRESS))
      }),
    async [Symbol.asyncDispose]() {
      await world.driver.ensureOff(serverId)
      await world.driver.removePort(port.portId)
      await world[Symbol.asyncDispose]()
    },
  }
  try {
    await world.driver.ensurePort(port)
    await world.driver.ensureDisk(disk)
    await world.driver.ensureOn(withPorts(server, [port]))
    await guest.untilAgent()
    return guest
  } catch (error) {
    await guest[Symbol.asyncDispose]()
    throw error
  }
}

test('a password, a key and the clock that are set from outside are true inside', async () => {
  await using guest = await openGuest()
  const { driver, serverId } = guest
  const [old, next] = ["before: it's old", 'after$(id) "x" é']

  assert.equal(await guest.letsIn({ password: old }), false)
  await driver.setGuestPassword(serverId, 'root', old)
  assert.equal(await guest.letsIn({ password: old }), true)
  await driver.setGuestPassword(serverId, 'root', next)
  assert.equal(await guest.letsIn({ password: old }), false)
  assert.equal(await guest.letsIn({ password: next }), true)

  const mine = await guest.makeKey('mine')
  assert.equal(await guest.letsIn(mine), false)
  await driver.changeGuestKeys(serverId, 'root', { add: [mine.publicKey], remove: [] })
  assert.equal(await guest.letsIn(mine), true)
  await guest.ssh(mine, `sed -i 's/ mine$/ renamed by its owner/' /root/.ssh/authorized_keys`)
  await driver.changeGuestKeys(serverId, 'root', { add: [], remove: [mine.publicKey] })
  assert.equal(await guest.letsIn(mine), false)

  await guest.ssh({ password: next }, 'date -s @1000000000')
  assert.ok(((await driver.readGuestHealth(serverId)).clockOffsetMs ?? 0) < -1e9)
  await driver.setGuestClock(serverId)
  const health = await driver.readGuestHealth(serverId)
  assert.ok(Math.abs(health.clockOffsetMs ?? Number.NaN) < 60_000, `${health.clockOffsetMs} ms`)

  // Whoever lets it stand still, by a full disk or a monitor, it is right again when it runs on.
  const since = Date.now()
  await guest.world.askTools(serverId, 'stop')
  assert.equal((await driver.readGuestHealth(serverId)).agent, 'silent')
  await until('it stood still for a while', () => Date.now() - since > 6_000)
  await guest.world.askTools(serverId, 'cont')
  await until('its clock is right again', async () => {
    const { clockOffsetMs } = await driver.readGuestHealth(serverId)
    return clockOffsetMs !== null && Math.abs(clockOffsetMs) < 3_000
  })

  const [card] = health.interfaces
  assert.deepEqual([card?.name, card?.macAddress], ['eth0', guest.port.macAddress])
  assert.equal(card?.ipAddresses.includes(ADDRESS), true)
  assert.deepEqual([health.hostName, health.fileSystems], ['tiny', 'thawed'])

  // All at once, an image for which the guest is frozen among them: each has its turn.
  const origin = { kind: 'server', serverId } as const
  const [image, ...healths] = await Promise.all([
    driver.ensureImageOf(newId(), origin),
    ...[1, 2, 3].map(() => driver.readGuestHealth(serverId)),
    driver.setGuestPassword(serverId, 'root', old),
  ])
  assert.deepEqual(
    healths.slice(0, 3).map((one) => one?.fileSystems),
    ['thawed', 'thawed', 'thawed'],
  )
  assert.equal(await guest.letsIn({ password: old }), true)
  assert.match((await run('qemu-img', ['check', '-f', 'qcow2', image.file])).stdout, /No errors/)

  const secrets = [old, next].flatMap((secret) => [secret, Buffer.from(secret).toString('base64')])
  for (const secret of secrets) assert.equal(guest.logged.join('').includes(secret), false)
})

/** The agent's port, as a shell in the guest finds it. */
const PORT = '/dev/$(basename $(dirname $(grep -l guest_agent /sys/class/virtio-ports/*/name)))'

/** Shell in the guest that has the agent's port as descriptor 3. */
const HOSTILE: [says: string, program: string][] = [
  ['nothing', 'exec sleep 600 <&3'],
  ['noughts without an end', 'exec cat /dev/zero >&3'],
  ['lines without an end', 'exec yes >&3'],
  // Reading ends whenever nobody has the other end.
  [
    'the wrong thing to everything',
    `while :; do while read -r line; do echo '{"return": 1}'; done; usleep 9; done <&3 >&3`,
  ],
]

test('an agent that misbehaves costs whoever asks it a wait, and nobody else anything', async () => {
  await using guest = await openGuest()
  const { driver, serverId } = guest
  const key = await guest.makeKey('key')
  await driver.changeGuestKeys(serverId, 'root', { add: [key.publicKey], remove: [] })
  const inside = (command: string) => guest.ssh(key, command)
  const stopAgent = `ga=$(pidof qemu-ga); kill $(sed -n 's/^PPid:[[:space:]]*//p' /proc/$ga/status) $ga`
  await inside(stopAgent)
  const health = async () => (await driver.readGuestHealth(serverId)).agent
  await until('nobody has the port open', async () => (await health()) === 'silent')
  await assert.rejects(
    driver.setGuestPassword(serverId, 'root', 'secret'),
    failsAs('noAgent', /Install the package qemu-guest-agent/),
  )

  const descriptors = () => readdirSync('/proc/self/fd').length
  const before = descriptors()
  for (const [says, program] of HOSTILE) {
    const script = Buffer.from(`echo $$ >/run/hostile.pid\nexec 3<>${PORT}\n${program}\n`).toString('base64')
    await inside(`echo ${script} | base64 -d >/run/hostile; setsid sh /run/hostile >/dev/null 2>&1 & sleep 1`)
    const order = driver.setGuestPassword(serverId, 'root', 'secret')
    await assert.rejects(order, failsAs('noAgent', /does not answer/), says)
    assert.equal(await health(), 'silent', says)
    assert.equal(await driver.readPower(serverId), 'on', says)
    // With what it started: its group is its own.
    await inside('kill -9 -$(cat /run/hostile.pid)')
  }
  await until('no conversation is left open', () => descriptors() <= before)
  assert.equal(guest.logged.join('').includes('secret'), false)

  await inside(`qemu-ga -d -m virtio-serial -p ${PORT} -f /run/qemu-ga.pid -t /run`)
  await guest.untilAgent()
  await driver.setGuestPassword(serverId, 'root', 'at last')
  assert.equal(await guest.letsIn({ password: 'at last' }), true)
})
