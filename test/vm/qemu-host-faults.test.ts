import assert from 'node:assert/strict'
import { appendFileSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { chmod, mkdir, rmdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import type { HostError } from '../../src/host/host-driver.ts'
import { cgroupDirectories, detectCgroups } from '../../src/host/qemu/cgroup.ts'
import { CONSOLE_KEPT_BYTES } from '../../src/host/qemu/console-log.ts'
import { readStartTicks } from '../../src/host/qemu/run-record.ts'
import { SYSTEM_PATH } from '../../src/host/run-program.ts'
import { ManualClock } from '../../src/lib/clock.ts'
import { newId } from '../../src/lib/ids.ts'
import { until } from '../support/until.ts'
import { WRITE_KEY } from './boot-sector-guest.ts'
import { failsAs, greetings, QemuWorld, SECTOR_IMAGE, startedServer, typeTo } from './qemu-world.ts'
import { SmallDisk } from './small-disk.ts'

test('a guest whose starter was killed before it could limit it is limited by the next one', async () => {
  await using world = await QemuWorld.open()
  const { server, pid } = await startedServer(world)
  const groups = cgroupDirectories(detectCgroups(world.dataDir), server.serverId)
  await world.leave()
  for (const group of groups) writeFileSync(join(dirname(group), '..', 'cgroup.procs'), String(pid))
  await world.restart()
  // Beside what writes its console down.
  const inGroup = (group: string) => readFileSync(join(group, 'cgroup.procs'), 'utf8').split('\n')
  for (const group of groups) assert.ok(inGroup(group).includes(String(pid)), group)
})

test('control groups of guests that ended while no Novella ran are gone after the next start', async () => {
  await using world = await QemuWorld.open()
  const cgroups = detectCgroups(world.dataDir)
  await world.leave()
  const groups = cgroupDirectories(cgroups, newId())
  const others = cgroupDirectories(detectCgroups('/another/data/directory'), newId())
  try {
    for (const group of [...groups, ...others]) await mkdir(group, { recursive: true })
    await world.restart()
    for (const group of groups) assert.equal(existsSync(group), false)
    for (const other of others) assert.equal(existsSync(other), true)
  } finally {
    for (const other of others) await rmdir(other)
  }
})

test('a guest that does not answer is neither started again nor said to be on', async () => {
  await using world = await QemuWorld.open()
  const { server, pid } = await startedServer(world)
  process.kill(pid, 'SIGSTOP')
  try {
    await assert.rejects(world.driver.ensureOn(server), failsAs('unreachable'))
  } finally {
    process.kill(pid, 'SIGCONT')
  }
  assert.equal(await world.driver.ensureOn(server), 'on')
  assert.equal(await world.readPid(server.serverId), pid)
})

test('a guest that a full disk stopped runs on when there is space again', async () => {
  await using small = await SmallDisk.mount('96m')
  await using world = await QemuWorld.open()
  await using driver = QemuWorld.driverOn(small.directory, { imagesDir: world.imagesDir })
  await driver.start()
  const { disk, server } = world.newServer()
  await driver.ensureDisk(disk)
  assert.equal(await driver.ensureOn(server), 'on')
  try {
    const greeted = async () => greetings(await driver.readConsole(server.serverId))
    await until('it greets', async () => (await greeted()) === 1)
    small.fill()
    await typeTo(small.files(server.serverId), WRITE_KEY)
    await until('it stands still', async () => (await driver.readPower(server.serverId)) === 'paused')
    assert.equal(await greeted(), 1)
    small.free()
    await until('its write is done', async () => (await greeted()) === 2)
    assert.equal(await driver.readPower(server.serverId), 'on')
  } finally {
    small.free()
    await driver.ensureOff(server.serverId)
  }
})

test('a console log that grew while no Novella ran is bounded by the next one, though the guest has ended', async () => {
  await using world = await QemuWorld.open({ clock: new ManualClock() })
  const { server } = await startedServer(world)
  await world.driver.ensureOff(server.serverId)
  await world.leave()
  const { consoleLog } = world.files(server.serverId)
  appendFileSync(consoleLog, 'x'.repeat(3 * CONSOLE_KEPT_BYTES))
  await world.restart()
  assert.equal(statSync(consoleLog).size, 0)
  assert.equal((await world.driver.readConsole(server.serverId)).length, CONSOLE_KEPT_BYTES)
})

test('a QEMU that dies at once is a failed start that says why in the log only, and leaves nothing', async () => {
  await using world = await QemuWorld.open({ concurrentBoots: 1 })
  const { disk, server } = world.newServer()
  await world.driver.ensureDisk(disk)
  const base = join(world.imagesDir, SECTOR_IMAGE, 'disk.qcow2')
  await chmod(base, 0o600)
  await assert.rejects(world.driver.ensureOn(server), (error: HostError) => {
    assert.ok(failsAs('startFailed')(error))
    assert.doesNotMatch(error.message, /\//)
    assert.match((error.cause as Error).message, /disk\.qcow2.*Permission denied/)
    return true
  })
  assert.equal(await world.driver.readPower(server.serverId), 'off')
  for (const group of cgroupDirectories(detectCgroups(world.dataDir), server.serverId))
    assert.equal(existsSync(group), false)
  await chmod(base, 0o644)
  assert.equal(await world.driver.ensureOn(server), 'on', 'and its place in the boot queue is free')
})

test('a host short of memory says how much is missing', async () => {
  await using world = await QemuWorld.open({ concurrentBoots: 1 })
  const { disk, server } = world.newServer()
  await world.driver.ensureDisk(disk)
  const huge = { ...server, ramMib: 1_000_000_000 }
  await assert.rejects(world.driver.ensureOn(huge), failsAs('noMemory', /[0-9]+ MiB of 1000000128 MiB are missing/))
  assert.equal(await world.driver.readPower(server.serverId), 'off')
  assert.equal(await world.driver.ensureOn(server), 'on', 'and its place in the boot queue is free')
})

test('a host short of disk space says how much is missing, and makes no half disk', async () => {
  await using small = await SmallDisk.mount('16m')
  await using world = await QemuWorld.open()
  await using driver = QemuWorld.driverOn(small.directory, { imagesDir: world.imagesDir })
  await driver.start()
  const { disk } = world.newServer()
  await assert.rejects(driver.ensureDisk(disk), failsAs('noSpace', /4[89] MiB of 64 MiB are missing/))
  assert.equal(await driver.readPower(disk.serverId), 'absent')
})

test('a full disk loses logs of a chatty guest, and nothing else', async () => {
  await using small = await SmallDisk.mount('96m')
  await using world = await QemuWorld.open()
  const clock = new ManualClock()
  await using driver = QemuWorld.driverOn(small.directory, { imagesDir: world.imagesDir, clock })
  await driver.start()
  const { disk, server } = world.newServer()
  await driver.ensureDisk(disk)
  assert.equal(await driver.ensureOn(server), 'on')
  try {
    const { consoleLog, olderConsoleLog } = small.files(server.serverId)
    await until('it greets', async () => (await driver.readConsole(server.serverId)).includes('ready>'))
    appendFileSync(consoleLog, 'x'.repeat(3 * CONSOLE_KEPT_BYTES))
    small.fill()
    clock.advance(1_000)
    assert.equal(statSync(consoleLog).size, 0)
    assert.equal(existsSync(olderConsoleLog), false)
    small.free()
    appendFileSync(consoleLog, `${'x'.repeat(CONSOLE_KEPT_BYTES)}the end`)
    clock.advance(1_000)
    assert.equal(statSync(olderConsoleLog).size, CONSOLE_KEPT_BYTES, 'the next sweep comes')
    await driver.ensureOff(server.serverId)
    small.fill()
    const before = readdirSync('/proc/self/fd').length
    for (let tries = 0; tries < 3; tries++)
      await assert.rejects(driver.ensureOn(server), failsAs('noSpace', /no space/))
    assert.ok(readdirSync('/proc/self/fd').length <= before, 'no descriptor is left open')
    assert.equal(await driver.readPower(server.serverId), 'off')
  } finally {
    small.free()
    await driver.ensureOff(server.serverId)
  }
})

/** A world whose QEMU stands still before it is QEMU, and a server that is being started there. */
async function startBegun(world: QemuWorld) {
  const bin = join(world.directory, 'bin')
  await mkdir(bin)
  const script = '#!/bin/sh\nkill -STOP $$\nexec /usr/bin/qemu-system-x86_64 "$@"\n'
  writeFileSync(join(bin, 'qemu-system-x86_64'), script, { mode: 0o755 })
  await world.restart({ searchPath: `${bin}:${SYSTEM_PATH}` })
  const { disk, server } = world.newServer()
  await world.driver.ensureDisk(disk)
  const starting = world.driver.ensureOn(server).catch((error: unknown) => error)
  const isStopped = (pid: number) => /^State:\tT/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  const pid = await until('it stands still', async () => {
    const pid = await world.readPid(server.serverId)
    return pid !== undefined && isStopped(pid) ? pid : 0
  })
  return { server, pid, starting }
}

test('an orderly stop leaves a guest that is being started, and the next Novella lets it run', async () => {
  await using world = await QemuWorld.open()
  const { server, pid, starting } = await startBegun(world)
  await world.leave()
  assert.ok(failsAs('unreachable')(await starting))
  assert.notEqual(readStartTicks(pid), undefined)
  process.kill(pid, 'SIGCONT')
  const { disk, qmp, sockets } = world.files(server.serverId)
  await until('it has its sockets', () => existsSync(qmp))
  assert.deepEqual(await world.askTools(server.serverId, 'query-status').then(readStatus), 'prelaunch')
  assert.equal(statSync(sockets).uid, statSync(disk).uid)
  await world.restart()
  await world.untilUp(server.serverId)
  assert.equal(statSync(sockets).uid, 0)
  assert.equal(await world.readPid(server.serverId), pid)
})

const readStatus = (answer: unknown): unknown => (answer as { status: unknown }).status

test('an orderly stop never ends by force a guest that is being stopped', async () => {
  await using world = await QemuWorld.open()
  const { server, pid } = await startedServer(world)
  process.kill(pid, 'SIGSTOP')
  try {
    const stopping = world.driver.ensureOff(server.serverId).catch((error: unknown) => error)
    await new Promise((resolve) => setImmediate(resolve)) // the monitor has been written to
    await world.leave()
    assert.ok(failsAs('unreachable')(await stopping))
    assert.notEqual(readStartTicks(pid), undefined)
  } finally {
    process.kill(pid, 'SIGCONT')
  }
})
