import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, existsSync, readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { pino } from 'pino'
import type { ServerPlan } from '../../src/host/host-driver.ts'
import { timeTinyBoot } from '../../src/host/qemu/accelerator.ts'
import { cgroupDirectories, detectCgroups } from '../../src/host/qemu/cgroup.ts'
import { CONSOLE_KEPT_BYTES } from '../../src/host/qemu/console-log.ts'
import { readQcow2Header } from '../../src/host/qemu/qcow2-header.ts'
import { findQemuPrograms } from '../../src/host/qemu/qemu-programs.ts'
import { readStartTicks } from '../../src/host/qemu/run-record.ts'
import { run } from '../../src/host/run-program.ts'
import { buildTiny } from '../../src/images/tiny/build-tiny.ts'
import { ManualClock } from '../../src/lib/clock.ts'
import { until } from '../support/until.ts'
import { POWER_OFF_KEY, PRINT_KEY, RESET_KEY } from './boot-sector-guest.ts'
import {
  failsAs,
  GUEST_USER,
  greetings,
  newPort,
  QemuWorld,
  SECTOR_IMAGE,
  startedServer,
  withPorts,
} from './qemu-world.ts'

const cacheDir = process.env.NOVELLA_CACHE_DIR ?? '/var/cache/novella'

test('QEMU runs unprivileged, in a sandbox, and on an empty network of its own', async () => {
  await using world = await QemuWorld.open()
  const { server, pid } = await startedServer(world)
  const { uid, gid } = statSync(world.files(server.serverId).disk)
  assert.ok(uid > 1_000_000 && gid === uid)
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const field = (name: string) => new RegExp(`^${name}:[ \\t]*(.*)$`, 'm').exec(status)?.[1]?.trim()
  assert.equal(field('Uid'), Array(4).fill(uid).join('\t'))
  assert.equal(field('Gid'), Array(4).fill(gid).join('\t'))
  for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) assert.match(field(set) ?? '', /^0+$/)
  assert.equal(field('Groups'), '')
  assert.equal(field('NoNewPrivs'), '1')
  assert.equal(field('Seccomp'), '2')
  assert.notEqual(readlinkSync(`/proc/${pid}/ns/net`), readlinkSync('/proc/self/ns/net'))
  const links = readFileSync(`/proc/${pid}/net/dev`, 'utf8').matchAll(/^\s*(\S+):/gm)
  assert.deepEqual(
    [...links].map(([, link]) => link),
    ['lo'],
  )
})

test('a guest is under its own limits, where the machine has control groups', async () => {
  await using world = await QemuWorld.open()
  const { server, pid } = await startedServer(world)
  const groups = cgroupDirectories(detectCgroups(world.dataDir), server.serverId)
  for (const group of groups) {
    const [writer = '', ...others] = readFileSync(join(group, 'cgroup.procs'), 'utf8')
      .trim()
      .split('\n')
      .filter((one) => one !== String(pid))
    assert.deepEqual(others, [])
    assert.match(readFileSync(`/proc/${writer}/cmdline`, 'utf8'), /^[^\0]*perl\0.*console\.log\0/s)
  }
  const limits = groups.flatMap((group) => [join(group, 'memory.limit_in_bytes'), join(group, 'memory.max')])
  const limit = limits.find((path) => existsSync(path))
  assert.ok(limit !== undefined || groups.every((group) => !group.includes('memory') && !group.includes('unified')))
  if (limit) assert.equal(Number(readFileSync(limit, 'utf8')), (server.ramMib + 512) * 1024 * 1024)
})

test('only the user QEMU runs as can read a disk, and QEMU can replace none of the files we read', async () => {
  await using world = await QemuWorld.open()
  const { server } = await startedServer(world)
  const files = world.files(server.serverId)
  assert.equal(statSync(files.disk).mode & 0o777, 0o600)
  assert.deepEqual([statSync(files.sockets).uid, statSync(files.sockets).mode & 0o777], [0, 0o700])
  assert.deepEqual([statSync(files.directory).uid, statSync(files.directory).mode & 0o066], [0, 0])
})

test('every guest runs as a user of its own, which owns its disk, also after a change', async () => {
  await using world = await QemuWorld.open()
  const all = [await startedServer(world), await startedServer(world)]
  const users = all.map(({ server }) => statSync(world.files(server.serverId).disk).uid)
  assert.notEqual(users[0], users[1])
  assert.deepEqual(
    all.map(({ pid }) => statSync(`/proc/${pid}`).uid),
    users,
  )
  const [{ server } = assert.fail()] = all
  const files = world.files(server.serverId)
  await world.driver.ensureOff(server.serverId)
  writeFileSync(files.uid, `${users[1]}\n`) // as if another data directory had given it out
  assert.equal(await world.driver.ensureOn(server), 'on')
  assert.notEqual(statSync(files.disk).uid, users[1])
  assert.equal(statSync(`/proc/${await world.readPid(server.serverId)}`).uid, statSync(files.disk).uid)
})

/** Starts a server from a process of its own, and kills that. */
async function startedByTheDead(world: QemuWorld): Promise<{ server: ServerPlan; pid: number }> {
  const { disk, server } = world.newServer()
  await world.driver.ensureDisk(disk)
  await world.leave()
  const script = join(import.meta.dirname, 'qemu-host-child.ts')
  const child: ChildProcess = spawn(process.execPath, [script, world.directory, JSON.stringify(server)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  try {
    assert.ok(child.stdout)
    const [said] = await once(child.stdout, 'data')
    assert.equal(String(said), 'on\n')
  } finally {
    child.kill('SIGKILL')
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  }
  const pid = await world.readPid(server.serverId)
  assert.ok(pid !== undefined, 'the guest outlives the process that started it')
  return { server, pid }
}

test('a guest outlives a Novella that is killed, and the next one takes it up', async () => {
  await using world = await QemuWorld.open()
  const { server, pid } = await startedByTheDead(world)
  await world.restart()
  assert.equal(await world.driver.readPower(server.serverId), 'on')
  assert.equal(await world.driver.ensureOn(server), 'on')
  assert.equal(await world.readPid(server.serverId), pid)
  await world.untilUp(server.serverId)
  await world.driver.pressPowerButton(server.serverId)
  await until('it is off', async () => (await world.driver.readPower(server.serverId)) === 'off')
})

test('a guest that shut down while no Novella ran is off, one that was killed has crashed', async () => {
  await using world = await QemuWorld.open()
  const tidy = await startedByTheDead(world)
  const { consoleLog } = world.files(tidy.server.serverId)
  await until('it greets', () => readFileSync(consoleLog, 'utf8').includes('line 3'))
  await world.type(tidy.server.serverId, POWER_OFF_KEY)
  await until('its process is gone', async () => (await world.readPid(tidy.server.serverId)) === undefined)
  await world.restart()
  const killed = await startedByTheDead(world)
  await world.crash(killed.server.serverId)
  await until('its process is gone', async () => (await world.readPid(killed.server.serverId)) === undefined)
  await world.restart()
  assert.equal(await world.driver.readPower(tidy.server.serverId), 'off')
  assert.equal(await world.driver.readPower(killed.server.serverId), 'crashed')
})

test('a guest whose process id was not written down yet is found by its command line', async () => {
  await using world = await QemuWorld.open()
  const { server, pid } = await startedServer(world)
  await world.leave()
  const { record } = world.files(server.serverId)
  writeFileSync(record, JSON.stringify({ ...JSON.parse(readFileSync(record, 'utf8')), pid: null, startTicks: null }))
  await world.restart()
  assert.equal(await world.driver.readPower(server.serverId), 'on')
  assert.equal(await world.driver.ensureOn(server), 'on')
  await world.driver.ensureOff(server.serverId)
  assert.equal(readStartTicks(pid), undefined)
})

test('a guest that resets itself stays the same guest', async () => {
  await using world = await QemuWorld.open()
  const { server, pid } = await startedServer(world)
  await world.untilUp(server.serverId)
  await world.type(server.serverId, RESET_KEY)
  await until('it greets again', async () => greetings(await world.driver.readConsole(server.serverId)) === 2)
  assert.equal(await world.readPid(server.serverId), pid)
  assert.equal(await world.driver.readPower(server.serverId), 'on')
})

test('a guest that was stopped from outside is paused, and runs on when it is asked for', async () => {
  await using world = await QemuWorld.open()
  const { server } = await startedServer(world)
  let nudges = 0
  world.driver.onNudge(() => nudges++)
  await world.askTools(server.serverId, 'stop')
  await until('the stop is noticed', () => nudges > 0)
  assert.equal(await world.driver.readPower(server.serverId), 'paused')
  assert.equal(await world.driver.ensureOn(server), 'on')
  assert.equal(await world.driver.readPower(server.serverId), 'on')
})

test('nothing is left of a server that was removed', async () => {
  await using world = await QemuWorld.open()
  const { server, pid } = await startedServer(world)
  const groups = cgroupDirectories(detectCgroups(world.dataDir), server.serverId)
  await assert.rejects(world.driver.removeDisks(server.serverId), failsAs('running'))
  await world.driver.ensureOff(server.serverId)
  await world.driver.removeDisks(server.serverId)
  assert.equal(existsSync(world.files(server.serverId).directory), false)
  for (const group of groups) assert.equal(existsSync(group), false)
  assert.equal(readStartTicks(pid), undefined)
})

test('the console log is bounded while the guest goes on writing to it', async () => {
  await using world = await QemuWorld.open()
  const { server } = await startedServer(world)
  await world.untilUp(server.serverId)
  const { consoleLog } = world.files(server.serverId)
  appendFileSync(consoleLog, 'x'.repeat(3 * CONSOLE_KEPT_BYTES))
  await until('the log is cut', () => statSync(consoleLog).size < CONSOLE_KEPT_BYTES)
  await world.type(server.serverId, PRINT_KEY)
  await world.untilUp(server.serverId)
  assert.equal(readFileSync(consoleLog, 'latin1').slice(0, 8), 'line 1\r\n', 'QEMU goes on where the log was cut')
  const text = await world.driver.readConsole(server.serverId)
  assert.ok(text.length <= CONSOLE_KEPT_BYTES)
  assert.match(text.slice(-40), /x*line 1\nline 2\nline 3\nready> $/)
})

test('guests boot one after the other in the order they first asked, when one at a time may boot', async () => {
  await using world = await QemuWorld.open({ concurrentBoots: 1, clock: new ManualClock() })
  const { server: first } = await startedServer(world)
  const [second, third] = [world.newServer(), world.newServer()]
  for (const { disk } of [second, third]) await world.driver.ensureDisk(disk)
  assert.equal(await world.driver.ensureOn(second.server), 'queued')
  assert.equal(await world.driver.ensureOn(third.server), 'queued')
  assert.equal(await world.driver.ensureOn(first), 'on')
  assert.equal(await world.driver.readPower(second.server.serverId), 'off')
  let nudges = 0
  world.driver.onNudge(() => nudges++)
  await world.driver.ensureOff(first.serverId)
  await until('a turn comes', () => nudges > 0)
  assert.equal(await world.driver.ensureOn(third.server), 'queued')
  assert.equal(await world.driver.ensureOn(second.server), 'on')
  await world.driver.removeDisks(third.server.serverId)
  assert.equal(await world.driver.ensureOn(first), 'queued')
  await world.driver.ensureOff(second.server.serverId)
  assert.equal(await world.driver.ensureOn(first), 'on')
})

test('a server with ports on two networks has a card on each', async () => {
  await using world = await QemuWorld.open()
  const { disk, server } = world.newServer()
  const ports = [newPort(server.serverId), newPort(server.serverId)]
  try {
    await world.driver.ensureDisk(disk)
    for (const port of ports) await world.driver.ensurePort(port)
    assert.equal(await world.driver.ensureOn(withPorts(server, ports)), 'on')
    const pid = await world.readPid(server.serverId)
    const opened = readdirSync(`/proc/${pid}/fdinfo`)
      .map((fd) => readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8'))
      .filter((info) => info.includes('iff:'))
    assert.equal(opened.length, 2)
    await world.driver.ensureOff(server.serverId)
  } finally {
    for (const { portId } of ports) await world.driver.removePort(portId)
  }
})

test('disks are as large as asked for, or as their image when that is larger', async () => {
  await using world = await QemuWorld.open()
  const { disk } = world.newServer()
  await world.driver.ensureDisk({ ...disk, sizeGib: 3 })
  assert.equal((await readQcow2Header(world.files(disk.serverId).disk)).virtualBytes, 3 * 1024 ** 3)
  const small = world.newServer().disk
  await world.driver.ensureDisk({ ...small, sizeGib: 0 })
  assert.equal((await readQcow2Header(world.files(small.serverId).disk)).virtualBytes, 1024 ** 2)
})

test('an image that is not there, leans on another file, or is no file name, makes no disk', async () => {
  await using world = await QemuWorld.open()
  const { disk } = world.newServer()
  const images = world.imagesDir
  await mkdir(join(images, 'leaning'))
  const base = join(images, SECTOR_IMAGE, 'disk.qcow2')
  const overlay = join(images, 'leaning', 'disk.qcow2')
  await run([findQemuPrograms().qemuImg, 'create', '-q', '-f', 'qcow2', '-b', base, '-F', 'qcow2', overlay], {
    timeoutMs: 30_000,
  })
  for (const imageId of ['absent', 'leaning', `../images/${SECTOR_IMAGE}`, '..', '']) {
    await assert.rejects(world.driver.ensureDisk({ ...disk, imageId }), failsAs('noImage'), imageId)
  }
  assert.equal(await world.driver.readPower(disk.serverId), 'absent')
})

test('a disk never runs on another image than it was made from', async () => {
  await using world = await QemuWorld.open()
  const { disk, server } = world.newServer()
  await world.linkImage('other', join(world.imagesDir, SECTOR_IMAGE))
  await world.driver.ensureDisk(disk)
  await assert.rejects(world.driver.ensureOn({ ...server, imageId: 'other' }), failsAs('noDisk', /another image/))
})

test('a machine without QEMU is told what to install', async () => {
  await using world = await QemuWorld.open()
  const driver = QemuWorld.driverOn(world.directory, { searchPath: world.imagesDir })
  await assert.rejects(driver.start(), failsAs('missing', /apt-get install qemu-system-x86 qemu-utils/))
})

test('a data directory that QEMU cannot reach, or whose sockets would have no name, is refused', async () => {
  await using world = await QemuWorld.open()
  const closed = join(world.directory, 'closed')
  await mkdir(closed, { mode: 0o700 })
  const unreachable = QemuWorld.driverOn(world.directory, { dataDir: join(closed, 'data') })
  await assert.rejects(unreachable.start(), failsAs('missing', new RegExp(`chmod o\\+x ${closed}$`)))
  const below = QemuWorld.driverOn(world.directory, { dataDir: join(world.imagesDir, SECTOR_IMAGE, 'disk.qcow2', 'x') })
  await assert.rejects(below.start(), failsAs('missing', /disk\.qcow2\/x cannot be used/))
  const long = QemuWorld.driverOn(world.directory, { dataDir: join(world.directory, 'd'.repeat(80)) })
  await assert.rejects(long.start(), failsAs('missing', /too long for sockets/))
})

test('ids that are no ids never become paths', async () => {
  await using world = await QemuWorld.open()
  for (const serverId of ['..', '../../x', '', '-S']) {
    await assert.rejects(world.driver.readPower(serverId), /no server id/)
    await assert.rejects(world.driver.removeDisks(serverId), /no server id/)
  }
})

test('the accelerator is tried with a boot sector, and TCG is taken where there is no KVM', async () => {
  await using world = await QemuWorld.open({ accelerator: 'auto' })
  const trial = {
    programs: findQemuPrograms(),
    user: GUEST_USER,
    dataDir: world.dataDir,
    log: pino({ level: 'silent' }),
  }
  const tcgMs = await timeTinyBoot('tcg', trial)
  assert.ok(tcgMs !== undefined && tcgMs > 0)
  const { accelerator } = await world.driver.readFacts()
  assert.ok(existsSync('/dev/kvm') ? ['tcg', 'kvm'].includes(accelerator) : accelerator === 'tcg')
  if (!existsSync('/dev/kvm')) {
    assert.equal(await timeTinyBoot('kvm', trial), undefined)
    const demanding = QemuWorld.driverOn(world.directory, { accelerator: 'kvm' })
    await assert.rejects(demanding.start(), failsAs('missing', /\/dev\/kvm/))
  }
  assert.deepEqual(
    readdirSync(world.dataDir).filter((name) => name.startsWith('trial')),
    [],
  )
})

test('a real guest leaves the boot queue when its agent is there, and obeys its power button by ACPI', async () => {
  const tiny = await buildTiny({ cacheDir })
  await using world = await QemuWorld.open({ concurrentBoots: 1, clock: new ManualClock() })
  await world.linkImage('tiny', tiny.directory)
  const { server } = await startedServer(world, 'tiny')
  const next = world.newServer()
  await world.driver.ensureDisk(next.disk)
  assert.equal(await world.driver.ensureOn(next.server), 'queued')
  let nudges = 0
  world.driver.onNudge(() => nudges++)
  await until('a turn comes', () => nudges > 0)
  assert.equal(await world.driver.readPower(server.serverId), 'on')
  assert.equal(await world.driver.ensureOn(next.server), 'on')
  const login = async () => /login: $/.test(await world.driver.readConsole(server.serverId, 1))
  await until('it asks for a login', login)
  await world.driver.pressPowerButton(server.serverId)
  await until('it is off', async () => (await world.driver.readPower(server.serverId)) === 'off')
  assert.doesNotMatch(await world.driver.readConsole(server.serverId), /[\r\x1b]/)
})
