/** What a Novella leaves that is killed in the middle of a verb: the next one completes it, or takes it away. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { readObjects } from '../../src/host/qemu/qmp-client.ts'
import type { ServerDisk, VolumeHost } from '../../src/host/volume-host.ts'
import { newId } from '../../src/lib/ids.ts'
import { until } from '../support/until.ts'
import { run } from './bare-guest.ts'
import { QemuWorld, startedServer } from './qemu-world.ts'

const child = join(import.meta.dirname, 'qemu-disk-child.ts')

/** Moments after which it is killed, in milliseconds: before most of the work, and in the middle of it. */
const MOMENTS_MS = [10, 120]

/** Calls a verb in a process that is killed in the middle of it; the world has a new driver after that. */
async function killedIn(world: QemuWorld, verb: keyof VolumeHost, args: unknown[], afterMs: number): Promise<void> {
  await world.leave()
  const argv = [child, world.directory, verb, JSON.stringify(args), String(afterMs)]
  const killed = spawn(process.execPath, argv, { stdio: ['ignore', 'ignore', 'inherit'] })
  const [, signal] = await once(killed, 'exit')
  assert.equal(signal, 'SIGKILL')
  await world.restart()
}

/** Jobs, copies' targets and unfinished files that are left. */
async function leftovers(world: QemuWorld, serverId: string): Promise<string[]> {
  const jobs = readObjects(await world.askTools(serverId, 'query-jobs')).map(({ id }) => String(id))
  const nodes = readObjects(await world.askTools(serverId, 'query-named-block-nodes', { flat: true }))
  const targets = nodes.map((node) => String(node['node-name'])).filter((name) => name.startsWith('to-'))
  const files = readdirSync(world.directory, { recursive: true }).map(String)
  return [...jobs, ...targets, ...files.filter((name) => name.includes('.qcow2.unfinished'))]
}

/** A volume with 64 MiB in it that no copy is spared. */
async function newVolume(world: QemuWorld): Promise<ServerDisk> {
  const diskId = newId()
  await world.driver.ensureVolume({ volumeId: diskId, sizeGib: 1, source: null })
  const file = join(world.dataDir, 'volumes', diskId, 'disk.qcow2')
  await run('qemu-io', ['-f', 'qcow2', '-c', 'write -P 0x41 0 64M', file])
  return { diskId, kind: 'volume', device: 'vdb', bootIndex: null }
}

test('killed while it attaches, grows, or copies what a guest has, the next one does it and leaves nothing', async () => {
  await using world = await QemuWorld.open()
  const { server, pid } = await startedServer(world)
  const { serverId } = server
  const volume = await newVolume(world)
  for (const moment of MOMENTS_MS) {
    await killedIn(world, 'ensureAttached', [serverId, volume], moment)
    await world.driver.ensureAttached(serverId, volume)
    assert.deepEqual(await world.readAttached(serverId), [volume.diskId])

    await killedIn(world, 'ensureVolumeSize', [volume.diskId, 2], moment)
    await world.driver.ensureVolumeSize(volume.diskId, 2)

    const snapshotId = newId()
    await killedIn(world, 'ensureSnapshot', [snapshotId, volume.diskId], moment)
    await world.driver.ensureSnapshot(snapshotId, volume.diskId)
    await until('nothing is left of it', async () => (await leftovers(world, serverId)).length === 0)
    const file = join(world.dataDir, 'snapshots', snapshotId, 'disk.qcow2')
    assert.equal(statSync(file).uid, 0)
    await run('qemu-io', ['-r', '-f', 'qcow2', '-c', 'read -P 0x41 0 64M', file])
    await world.driver.removeSnapshot(snapshotId)

    // This guest never lets go of a disk; a reset takes from it what it was asked for.
    await killedIn(world, 'removeAttached', [serverId, volume.diskId], moment)
    await world.driver.removeAttached(serverId, volume.diskId).catch(() => {})
    await world.askTools(serverId, 'system_reset')
    await world.driver.removeAttached(serverId, volume.diskId)
    assert.deepEqual(await world.readAttached(serverId), [])
    await world.driver.removeSnapshot(snapshotId)
  }
  assert.equal(await world.readPid(serverId), pid)
  await world.driver.removeVolume(volume.diskId)
  assert.deepEqual(await world.driver.readDisks(), { imageIds: ['sector'], volumeIds: [], snapshotIds: [] })
})

test('killed while it makes, copies or resets at rest, the next one does it, and everything can be removed', async () => {
  await using world = await QemuWorld.open()
  const volume = await newVolume(world)
  const source = { kind: 'volume', volumeId: volume.diskId } as const
  for (const moment of MOMENTS_MS) {
    const [copyId, snapshotId, imageId] = [newId(), newId(), newId()]
    const calls: [keyof VolumeHost, unknown[]][] = [
      ['ensureVolume', [{ volumeId: copyId, sizeGib: 1, source }]],
      ['ensureSnapshot', [snapshotId, volume.diskId]],
      ['ensureImageOf', [imageId, source]],
      ['resetVolume', [copyId, { kind: 'snapshot', snapshotId }]],
      ['removeSnapshot', [snapshotId]],
      ['removeVolume', [copyId]],
      ['removeImage', [imageId]],
    ]
    for (const [verb, args] of calls) {
      await killedIn(world, verb, args, moment)
      const call = world.driver[verb] as (...given: unknown[]) => Promise<unknown>
      await call.apply(world.driver, args)
      if (verb !== 'resetVolume') continue
      const file = join(world.dataDir, 'volumes', copyId, 'disk.qcow2')
      await run('qemu-io', ['-r', '-f', 'qcow2', '-c', 'read -P 0x41 0 64M', file])
    }
    const { imageIds, volumeIds, snapshotIds } = await world.driver.readDisks()
    assert.deepEqual(
      { imageIds, volumeIds, snapshotIds },
      { imageIds: ['sector'], volumeIds: [volume.diskId], snapshotIds: [] },
    )
  }
})
