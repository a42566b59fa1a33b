/** Images and snapshots of what real guests are writing, and guests that are frozen for it. */
import assert from 'node:assert/strict'
import { existsSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { GuestAgent } from '../../src/host/qemu/guest-agent.ts'
import { readObjects } from '../../src/host/qemu/qmp-client.ts'
import { buildTiny } from '../../src/images/tiny/build-tiny.ts'
import { newId } from '../../src/lib/ids.ts'
import { until } from '../support/until.ts'
import { run } from './bare-guest.ts'
import { shellIn } from './guest-agent.ts'
import { QemuWorld, startedServer } from './qemu-world.ts'

const cacheDir = process.env.NOVELLA_CACHE_DIR ?? '/var/cache/novella'

async function openTinyWorld(): Promise<QemuWorld> {
  const tiny = await buildTiny({ cacheDir })
  const world = await QemuWorld.open()
  await world.linkImage('tiny', tiny.directory)
  return world
}

/** Writes a number a line, each on the disk before the next, for as long as the guest runs. */
const JOURNAL = 'i=0; while :; do i=$((i+1)); echo $i; sync; done >/journal 2>/dev/null &'

/** What the last partition's file system says of itself. */
async function fileSystemOf(world: QemuWorld, disk: string): Promise<string> {
  const raw = join(world.directory, 'look.raw')
  await run('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', disk, raw])
  const { partitiontable } = JSON.parse((await run('sfdisk', ['-J', raw])).stdout)
  const offset = partitiontable.partitions.at(-1).start * 512
  return (await run('dumpe2fs', ['-h', `${raw}?offset=${offset}`])).stdout
}

test('an image of a guest that writes is whole, its file system is clean, and it boots', async () => {
  await using world = await openTinyWorld()
  const { server, pid } = await startedServer(world, 'tiny')
  const files = world.files(server.serverId)
  await shellIn(files, JOURNAL)
  const written = async () => Number(await shellIn(files, 'tail -n 1 /journal'))
  await until('it writes', async () => (await written()) > 20)
  const before = await written()
  const imageId = newId()
  const image = await world.driver.ensureImageOf(imageId, { kind: 'server', serverId: server.serverId })
  assert.equal(await world.readPid(server.serverId), pid)
  assert.equal(existsSync(files.frozen), false)
  await until('it goes on writing', async () => (await written()) > before + 5)
  assert.deepEqual([statSync(image.file).uid, statSync(image.file).mode & 0o777], [0, 0o644])
  // The agent had it frozen: what was not, would have to be recovered.
  assert.doesNotMatch(await fileSystemOf(world, image.file), /needs_recovery/)
  await world.driver.ensureOff(server.serverId)

  const { disk, server: next } = world.newServer('tiny')
  await world.driver.ensureDisk({ ...disk, imageId })
  await world.driver.ensureOn({ ...next, imageId })
  const lines = (await shellIn(world.files(next.serverId), 'cat /journal')).split('\n').map(Number)
  assert.deepEqual(
    lines,
    lines.map((_, index) => index + 1),
  )
  assert.ok(lines.length >= before, `${lines.length} lines, ${before} were written before`)
})

test('an agent that froze its guest for a Novella that was killed is told to thaw by the next', async () => {
  await using world = await openTinyWorld()
  const { server } = await startedServer(world, 'tiny')
  const files = world.files(server.serverId)
  await shellIn(files, 'true')
  await world.leave()
  writeFileSync(files.frozen, '')
  {
    using agent = await GuestAgent.connect(files.guestAgent, 30_000)
    assert.ok(Number(await agent.execute('guest-fsfreeze-freeze', {}, 30_000)) > 0)
    assert.equal(await agent.execute('guest-fsfreeze-status', {}, 30_000), 'frozen')
  }
  await world.restart()
  await until('it is thawed', () => !existsSync(files.frozen))
  using agent = await GuestAgent.connect(files.guestAgent, 30_000)
  assert.equal(await agent.execute('guest-fsfreeze-status', {}, 30_000), 'thawed')
})

test('a guest whose agent never answers is copied all the same, and so is one that stands still', async () => {
  await using world = await openTinyWorld()
  const { server } = await startedServer(world, 'tiny')
  const { serverId } = server
  const files = world.files(serverId)
  const volumeId = newId()
  await world.driver.ensureVolume({ volumeId, sizeGib: 1, source: null })
  // The agent is there, and stopped.
  await shellIn(files, '(sleep 1; kill -STOP $(pidof qemu-ga)) >/dev/null 2>&1 &')
  await until('the agent is silent', () =>
    GuestAgent.connect(files.guestAgent, 1_000).then(
      (agent) => agent[Symbol.dispose](),
      () => true,
    ),
  )
  await world.driver.ensureAttached(serverId, { diskId: volumeId, kind: 'volume', device: 'vdb', bootIndex: null })
  await world.driver.ensureSnapshot(newId(), volumeId)
  await world.askTools(serverId, 'stop')
  const origin = { kind: 'server', serverId } as const
  const image = await world.driver.ensureImageOf(newId(), origin)
  assert.equal((await run('qemu-img', ['check', '-f', 'qcow2', image.file])).stdout.includes('No errors'), true)
  assert.equal(await world.driver.readPower(serverId), 'paused')
  assert.deepEqual(readObjects(await world.askTools(serverId, 'query-jobs')), [])
})
