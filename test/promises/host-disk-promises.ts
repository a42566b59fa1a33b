import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ServerPlan } from '../../src/host/host-driver.ts'
import { MOST_DISKS, type ServerDisk } from '../../src/host/volume-host.ts'
import { newId } from '../../src/lib/ids.ts'
import { failsAs, type HostWorld } from './host-driver-promises.ts'

/** What the conductor relies on of disks and guests together; what lies still is in `volumeBackendPromises`. */
export function hostDiskPromises(name: string, makeWorld: () => Promise<HostWorld>): void {
  const promise = (says: string, body: (world: HostWorld) => Promise<void>) =>
    test(`${name}: ${says}`, async () => {
      await using world = await makeWorld()
      await body(world)
    })

  async function newVolume({ driver }: HostWorld, sizeGib = 1): Promise<ServerDisk> {
    const volumeId = newId()
    await driver.ensureVolume({ volumeId, sizeGib, source: null })
    return { diskId: volumeId, kind: 'volume', device: 'vdb', bootIndex: null }
  }

  /** A server that runs, with these disks from the start. */
  async function started(world: HostWorld, disks: ServerDisk[] = []): Promise<ServerPlan> {
    const { disk, server } = world.newServer()
    await world.driver.ensureDisk(disk)
    assert.equal(await world.driver.ensureOn({ ...server, disks }), 'on')
    return server
  }

  promise(
    'a volume comes into a guest that runs, once, however often and by whomever it is asked for',
    async (world) => {
      const [first, second] = [await newVolume(world), await newVolume(world)]
      const { serverId } = await started(world, [first])
      const guest = await world.readGuest(serverId)
      assert.deepEqual(await world.readAttached(serverId), [first.diskId])
      await Promise.all([1, 2].map(() => world.driver.ensureAttached(serverId, second)))
      const both = [first.diskId, second.diskId].sort()
      assert.deepEqual(await world.readAttached(serverId), both)
      await world.restart()
      for (const one of [first, second]) await world.driver.ensureAttached(serverId, one)
      assert.deepEqual(await world.readAttached(serverId), both)
      assert.deepEqual(await world.readGuest(serverId), guest)
    },
  )

  promise('a server that is off, or that nobody heard of, takes and gives no volume', async (world) => {
    const volume = await newVolume(world)
    const { disk, server } = world.newServer()
    for (const power of ['absent', 'off']) {
      await world.driver.ensureAttached(server.serverId, volume)
      await world.driver.removeAttached(server.serverId, volume.diskId)
      assert.equal(await world.driver.readPower(server.serverId), power)
      await world.driver.ensureDisk(disk)
    }
    await world.driver.removeVolume(volume.diskId)
  })

  promise('a volume that is not there is not plugged, and a server that needs it does not start', async (world) => {
    const missing: ServerDisk = { diskId: newId(), kind: 'volume', device: 'vdb', bootIndex: null }
    const server = await started(world)
    await assert.rejects(world.driver.ensureAttached(server.serverId, missing), failsAs('noDisk'))
    await world.driver.removeAttached(server.serverId, missing.diskId)
    assert.deepEqual(await world.readAttached(server.serverId), [])
    await world.driver.ensureOff(server.serverId)
    await assert.rejects(world.driver.ensureOn({ ...server, disks: [missing] }), failsAs('noDisk'))
    assert.equal(await world.driver.readPower(server.serverId), 'off')
  })

  promise('a volume has one guest at a time, and is free when that is off', async (world) => {
    const volume = await newVolume(world)
    const one = await started(world, [volume])
    const { disk, server: other } = world.newServer()
    await world.driver.ensureDisk(disk)
    await assert.rejects(world.driver.ensureOn({ ...other, disks: [volume] }), failsAs('running'))
    await world.driver.ensureOn(other)
    await assert.rejects(world.driver.ensureAttached(other.serverId, volume), failsAs('running'))
    await assert.rejects(world.driver.removeVolume(volume.diskId), failsAs('running'))
    await world.restart()
    await assert.rejects(world.driver.removeVolume(volume.diskId), failsAs('running'))
    await world.driver.ensureOff(one.serverId)
    await world.driver.ensureAttached(other.serverId, volume)
    assert.deepEqual(await world.readAttached(other.serverId), [volume.diskId])
    await world.driver.ensureOff(other.serverId)
    await world.driver.removeVolume(volume.diskId)
    assert.deepEqual((await world.driver.readDisks()).volumeIds, [])
  })

  promise('a guest that crashed has no volume any more', async (world) => {
    const volume = await newVolume(world)
    const { serverId } = await started(world, [volume])
    await world.crash(serverId)
    await world.untilGone(serverId)
    await world.driver.removeVolume(volume.diskId)
  })

  promise('a guest takes so many disks and no more', async (world) => {
    const disks: ServerDisk[] = []
    for (let n = 0; n <= MOST_DISKS; n++) disks.push(await newVolume(world))
    const server = await started(world, disks.slice(0, MOST_DISKS - 1))
    const [last = assert.fail(), tooMany = assert.fail()] = disks.slice(-2)
    await world.driver.ensureAttached(server.serverId, last)
    await assert.rejects(world.driver.ensureAttached(server.serverId, tooMany), failsAs('startFailed'))
    assert.equal((await world.readAttached(server.serverId)).length, MOST_DISKS)
    await world.driver.removeVolume(tooMany.diskId)
  })

  promise('a disk of its own is made once, is there at each start, and goes with the server', async (world) => {
    const { disk, server } = world.newServer()
    const local: ServerDisk = { diskId: newId(), kind: 'local', device: 'vdb', bootIndex: null }
    const { serverId } = server
    for (const content of ['ext4', 'swap'] as const) {
      await world.driver.ensureBlankDisk({ serverId, diskId: local.diskId, sizeMib: 64, content })
    }
    await world.driver.ensureDisk(disk)
    for (const _ of [1, 2]) {
      await world.driver.ensureOn({ ...server, disks: [local] })
      assert.deepEqual(await world.readAttached(serverId), [local.diskId])
      await world.driver.ensureOff(serverId)
    }
    await world.driver.removeDisks(serverId)
    assert.equal(await world.driver.readPower(serverId), 'absent')
  })

  promise('a server without an image boots from a volume', async (world) => {
    const { disk, server } = world.newServer()
    const volumeId = newId()
    const source = { kind: 'image', imageId: disk.imageId } as const
    await world.driver.ensureVolume({ volumeId, sizeGib: 1, source })
    const root: ServerDisk = { diskId: volumeId, kind: 'volume', device: 'vda', bootIndex: 0 }
    const plan = { ...server, imageId: null, disks: [root] }
    assert.equal(await world.driver.ensureOn(plan), 'on')
    await world.untilUp(server.serverId)
    assert.deepEqual(await world.readAttached(server.serverId), [volumeId])
    const imageId = newId()
    const made = await world.driver.ensureImageOf(imageId, { kind: 'server', serverId: server.serverId })
    assert.equal(made.virtualBytes, 1024 ** 3)
    await world.driver.ensureOff(server.serverId)
    await world.driver.removeDisks(server.serverId)
    await world.driver.removeVolume(volumeId)
  })

  promise('without its volume a server without an image leaves no trace', async (world) => {
    const { server } = world.newServer()
    const root: ServerDisk = { diskId: newId(), kind: 'volume', device: 'vda', bootIndex: 0 }
    await assert.rejects(world.driver.ensureOn({ ...server, imageId: null, disks: [root] }), failsAs('noDisk'))
    assert.equal(await world.driver.readPower(server.serverId), 'absent')
  })

  promise('a volume that a guest has is grown, copied and imaged while it runs', async (world) => {
    const volume = await newVolume(world)
    const { serverId } = await started(world, [volume])
    const guest = await world.readGuest(serverId)
    await world.driver.ensureVolumeSize(volume.diskId, 2)
    await world.driver.ensureVolumeSize(volume.diskId, 1)
    const [snapshotId, imageId, copyId] = [newId(), newId(), newId()]
    for (const _ of [1, 2]) await world.driver.ensureSnapshot(snapshotId, volume.diskId)
    const image = await world.driver.ensureImageOf(imageId, { kind: 'volume', volumeId: volume.diskId })
    assert.equal(image.virtualBytes, 2 * 1024 ** 3)
    const source = { kind: 'volume', volumeId: volume.diskId } as const
    await world.driver.ensureVolume({ volumeId: copyId, sizeGib: 1, source })
    assert.deepEqual(await world.readAttached(serverId), [volume.diskId])
    assert.deepEqual(await world.readGuest(serverId), guest)
    const { volumeIds, snapshotIds } = await world.driver.readDisks()
    assert.deepEqual(volumeIds.sort(), [volume.diskId, copyId].sort())
    assert.deepEqual(snapshotIds, [snapshotId])
  })

  promise('an image is made of a server, running or off, and servers are made of it', async (world) => {
    const server = await started(world)
    await world.untilUp(server.serverId)
    const guest = await world.readGuest(server.serverId)
    const [ofRunning, ofOff] = [newId(), newId()]
    const origin = { kind: 'server', serverId: server.serverId } as const
    const first = await world.driver.ensureImageOf(ofRunning, origin)
    assert.deepEqual(await world.readGuest(server.serverId), guest)
    await world.driver.ensureOff(server.serverId)
    assert.deepEqual(await world.driver.ensureImageOf(ofRunning, origin), first)
    await world.driver.ensureImageOf(ofOff, origin)
    for (const imageId of [ofRunning, ofOff]) {
      const { disk, server: next } = world.newServer()
      await world.driver.ensureDisk({ ...disk, imageId })
      await world.driver.removeImage(imageId)
      await world.driver.ensureOn({ ...next, imageId })
      await world.untilUp(next.serverId)
      await world.driver.ensureOff(next.serverId)
      assert.ok((await world.driver.readDisks()).imageIds.includes(imageId))
      await world.driver.removeDisks(next.serverId)
      assert.ok(!(await world.driver.readDisks()).imageIds.includes(imageId))
    }
  })
}
