/** Serial consoles of real guests: what is kept of them, who may flood them, and who looks at them. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { appendFileSync, existsSync, readdirSync, readFileSync, readlinkSync, renameSync, statSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import { test } from 'node:test'
import { CONSOLE_KEPT_BYTES } from '../../src/host/qemu/console-log.ts'
import { hasConsoleWriter } from '../../src/host/qemu/console-writer.ts'
import { BACKLOG_BYTES } from '../../src/host/qemu/serial-consoles.ts'
import { buildTiny } from '../../src/images/tiny/build-tiny.ts'
import { until } from '../support/until.ts'
import { PRINT_KEY, RESET_KEY } from './boot-sector-guest.ts'
import { shellIn } from './guest-agent.ts'
import { failsAs, greetings, QemuWorld, startedServer } from './qemu-world.ts'

const cacheDir = process.env.NOVELLA_CACHE_DIR ?? '/var/cache/novella'
const MIB = 1024 * 1024

/** Collects what a viewer is shown. */
function watch(viewer: Duplex): { text: () => string; bytes: () => number } {
  const chunks: Buffer[] = []
  viewer.on('data', (bytes: Buffer) => chunks.push(bytes))
  return {
    text: () => Buffer.concat(chunks).toString('latin1'),
    bytes: () => chunks.reduce((sum, { length }) => sum + length, 0),
  }
}

/** Process ids of what writes the console of a server down. */
function writersOf(world: QemuWorld, serverId: string): number[] {
  const { consoleLog } = world.files(serverId)
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => Number.isInteger(pid))
    .filter((pid) => {
      try {
        return (
          /perl/.test(readlinkSync(`/proc/${pid}/exe`)) &&
          readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(consoleLog)
        )
      } catch {
        return false
      }
    })
}

test('a console is kept across power cuts, resets and Novellas, also what is said while none runs', async () => {
  await using world = await QemuWorld.open()
  const { server } = await startedServer(world)
  const { serverId } = server
  await world.untilUp(serverId)
  await world.type(serverId, RESET_KEY)
  await until('it greets after a reset', async () => greetings(await world.driver.readConsole(serverId)) === 2)
  await world.driver.ensureOff(serverId)
  assert.deepEqual(writersOf(world, serverId), [], 'the writer ends with its guest')
  assert.equal(await world.driver.ensureOn(server), 'on')
  await until('it greets after a power cut', async () => greetings(await world.driver.readConsole(serverId)) === 3)
  const files = world.files(serverId)
  await world.leave()
  await world.type(serverId, PRINT_KEY)
  await until(
    'it is written down while no Novella runs',
    () => greetings(readFileSync(files.consoleLog, 'latin1').replaceAll('\x1b[0m', '')) === 4,
  )
  await world.restart()
  assert.equal(greetings(await world.driver.readConsole(serverId)), 4)
})

test('what writes a console down is replaced when it was killed', async () => {
  await using world = await QemuWorld.open()
  const { server } = await startedServer(world)
  const { serverId } = server
  await world.untilUp(serverId)
  const [writer = 0] = writersOf(world, serverId)
  process.kill(writer, 'SIGKILL')
  await until('another one is there', () => writersOf(world, serverId).some((pid) => pid !== writer))
  await world.type(serverId, PRINT_KEY)
  await until('it writes', async () => greetings(await world.driver.readConsole(serverId)) === 2)
  assert.equal(hasConsoleWriter(world.files(serverId)), true)
})

test('a viewer that opens a console sees what was said, and types; one that comes with no console learns what helps', async () => {
  await using world = await QemuWorld.open()
  const { server } = await startedServer(world)
  const { serverId } = server
  const files = world.files(serverId)
  await world.untilUp(serverId)
  renameSync(files.serial, `${files.serial}-away`)
  await assert.rejects(world.driver.openSerial(serverId), failsAs('notPlugged', /hard reboot/))
  renameSync(`${files.serial}-away`, files.serial)
  const first = await world.driver.openSerial(serverId)
  const seen = watch(first)
  await until('it sees the greeting', () => /ready/.test(seen.text()))
  first.write(PRINT_KEY)
  await until('it sees the answer', () => seen.text().split('line 3').length === 3)
  first.destroy()
  await once(first, 'close')
  const again = await world.driver.openSerial(serverId)
  const later = watch(again)
  await until('the next viewer sees all of it', () => later.text() === seen.text())
  again.destroy()
})

test('a guest that floods its console stays within bounds and holds nobody up, whether a Novella runs or not', async () => {
  const tiny = await buildTiny({ cacheDir })
  await using world = await QemuWorld.open()
  await world.linkImage('tiny', tiny.directory)
  const { server } = await startedServer(world, 'tiny')
  const { serverId } = server
  const files = world.files(serverId)
  await shellIn(files, 'true')
  // Most of what is kept is there already, so that a short flood is enough.
  appendFileSync(files.consoleLog, `${'x'.repeat(79)}\n`.repeat(9_000))
  const sleeper = await world.driver.openSerial(serverId)
  // It takes the first piece, and sleeps.
  sleeper.on('readable', () => {})
  const viewer = await world.driver.openSerial(serverId)
  const seen = watch(viewer)

  await shellIn(files, '(seq 1000000 1999999 > /dev/ttyS0) > /dev/null 2>&1 & true')
  await until('the flood is seen', () => seen.bytes() > MIB / 8)
  assert.equal(await world.driver.readPower(serverId), 'on')
  assert.ok(sleeper.readableLength <= 2 * BACKLOG_BYTES, `${sleeper.readableLength} bytes wait for the sleeper`)
  assertNoGap(seen.text())
  viewer.destroy()
  sleeper.destroy()

  await world.leave()
  const sizes = () =>
    [files.consoleLog, files.olderConsoleLog].map((path) => (existsSync(path) ? statSync(path).size : 0))
  await until('the log has begun anew', () => {
    for (const size of sizes()) assert.ok(size <= CONSOLE_KEPT_BYTES, `${size} bytes`)
    const [newer = 0, older = 0] = sizes()
    return older > 0 && newer > 0
  })
  await world.restart()
  const kept = await world.driver.readConsole(serverId)
  assert.ok(kept.length > CONSOLE_KEPT_BYTES / 2)
  assertNoGap(kept)
  // The guest is as busy with its flood as it may be, and obeys all the same.
  assert.equal(await shellIn(files, 'echo still here'), 'still here')
})

/** Asserts that the numbers in a flood, but for those cut off at its ends, follow each other. */
function assertNoGap(text: string): void {
  const numbers = text
    .split(/\r?\n/)
    .slice(1, -1)
    .filter((line) => /^1\d{6}$/.test(line))
    .map(Number)
  assert.ok(numbers.length > 5_000, `${numbers.length} numbers`)
  assert.deepEqual(
    numbers,
    Array.from(numbers, (_, i) => (numbers[0] ?? 0) + i),
  )
}
