/** Volumes that come and go while real guests run, seen from inside. */
import assert from 'node:assert/strict'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import type { ServerPlan } from '../../src/host/host-driver.ts'
import type { ServerDisk } from '../../src/host/volume-host.ts'
import { buildTiny } from '../../src/images/tiny/build-tiny.ts'
import { newId } from '../../src/lib/ids.ts'
import { until } from '../support/until.ts'
import { WRITE_KEY } from './boot-sector-guest.ts'
import { shellIn } from './guest-agent.ts'
import { failsAs, greetings, QemuWorld, SECTOR_IMAGE, startedServer, typeTo } from './qemu-world.ts'
import { SmallDisk } from './small-disk.ts'

const cacheDir = process.env.NOVELLA_CACHE_DIR ?? '/var/cache/novella'

async function openTinyWorld(): Promise<QemuWorld> {
  const tiny = await buildTiny({ cacheDir })
  const world = await QemuWorld.open()
  await world.linkImage('tiny', tiny.directory)
  return world
}

async function newVolume({ driver }: QemuWorld): Promise<ServerDisk> {
  const diskId = newId()
  await driver.ensureVolume({ volumeId: diskId, sizeGib: 1, source: null })
  return { diskId, kind: 'volume', device: 'vdb', bootIndex: null }
}

const volumeFile = (world: QemuWorld, { diskId }: ServerDisk): string =>
  join(world.dataDir, 'volumes', diskId, 'disk.qcow2')

/** How a guest and a test speak of a volume. */
function inside(world: QemuWorld, { serverId }: ServerPlan, { diskId }: ServerDisk) {
  const shell = (command: string) => shellIn(world.files(serverId), command)
  const serial = diskId.slice(0, 20)
  /** The name of its device in the guest; empty when it has none. */
  const device = () =>
    shell(`for d in /sys/block/vd*; do [ "$(cat $d/serial)" = ${serial} ] && basename $d; done; true`)
  return { shell, device, appears: () => until('the guest has the volume', async () => (await device()) !== '') }
}

test('what one guest writes another one reads, grown meanwhile, and nobody has it in between', async () => {
  await using world = await openTinyWorld()
  const volume = await newVolume(world)
  const file = volumeFile(world, volume)
  const { server: first } = await startedServer(world, 'tiny')
  const writer = inside(world, first, volume)
  await writer.shell('true')
  await world.driver.ensureAttached(first.serverId, volume)
  await writer.appears()
  assert.notEqual(statSync(file).uid, 0)
  const device = await writer.device()
  await writer.shell(`seq 1 20000 | dd of=/dev/${device} seek=1000 conv=fsync`)
  const sum = await writer.shell(`dd if=/dev/${device} skip=1000 count=200 | sha256sum`)

  await world.driver.ensureVolumeSize(volume.diskId, 2)
  await until(
    'the guest sees it grown',
    async () => (await writer.shell(`cat /sys/block/${device}/size`)) === '4194304',
  )

  await world.restart()
  await world.driver.removeAttached(first.serverId, volume.diskId)
  assert.equal(await writer.device(), '')
  assert.deepEqual([statSync(file).uid, statSync(file).mode & 0o777], [0, 0o600])
  await world.driver.removeAttached(first.serverId, volume.diskId)

  const { server: second } = await startedServer(world, 'tiny')
  // While it boots it has none of it, and cannot give it back.
  await world.driver.ensureAttached(second.serverId, volume)
  await assert.rejects(
    world.driver.removeAttached(second.serverId, volume.diskId),
    failsAs('unreachable', /may still be starting/),
  )
  await world.driver.ensureOff(second.serverId)
  await world.driver.ensureOn({ ...second, disks: [volume] })
  const reader = inside(world, second, volume)
  await reader.appears()
  assert.equal(await reader.shell(`dd if=/dev/${await reader.device()} skip=1000 count=200 | sha256sum`), sum)
  await assert.rejects(world.driver.ensureAttached(first.serverId, volume), failsAs('running'))
})

test('a volume takes space as it is written, and gives back what the guest discards', async () => {
  await using world = await openTinyWorld()
  const volume = await newVolume(world)
  const { server } = await startedServer(world, 'tiny')
  const { shell, appears, device } = inside(world, server, volume)
  const usedMib = () => statSync(volumeFile(world, volume)).blocks / 2048
  await shell('true')
  await world.driver.ensureAttached(server.serverId, volume)
  await appears()
  const name = await device()
  assert.ok(usedMib() < 2)
  await shell(`dd if=/dev/urandom of=/dev/${name} bs=1M count=8 conv=fsync`)
  assert.ok(usedMib() >= 8)
  // Zeros are as good as a discard, which this guest's busybox cannot ask for.
  await shell(`dd if=/dev/zero of=/dev/${name} bs=1M count=8 conv=fsync`)
  await until('the space is given back', () => usedMib() < 2)
})

test('a guest whose volume has no room stands still, and writes on when there is room again', async () => {
  await using small = await SmallDisk.mount('96m')
  await using world = await QemuWorld.open()
  await using driver = QemuWorld.driverOn(small.directory, { imagesDir: world.imagesDir })
  await driver.start()
  const { server } = world.newServer()
  const volumeId = newId()
  await driver.ensureVolume({ volumeId, sizeGib: 1, source: { kind: 'image', imageId: SECTOR_IMAGE } })
  const root: ServerDisk = { diskId: volumeId, kind: 'volume', device: 'vda', bootIndex: 0 }
  assert.equal(await driver.ensureOn({ ...server, imageId: null, disks: [root] }), 'on')
  try {
    const greeted = async () => greetings(await driver.readConsole(server.serverId))
    await until('it greets', async () => (await greeted()) === 1)
    small.fill()
    await assert.rejects(driver.ensureSnapshot(newId(), volumeId), failsAs('noSpace'))
    await typeTo(small.files(server.serverId), WRITE_KEY)
    await until('it stands still', async () => (await driver.readPower(server.serverId)) === 'paused')
    assert.equal(await greeted(), 1)
    small.free()
    await until('its write is done', async () => (await greeted()) === 2)
    const { snapshotIds } = await driver.readDisks()
    assert.deepEqual(snapshotIds, [])
  } finally {
    small.free()
    await driver.ensureOff(server.serverId)
  }
})
