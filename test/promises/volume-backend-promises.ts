import assert from 'node:assert/strict'
import { stat } from 'node:fs/promises'
import { test } from 'node:test'
import { HostError } from '../../src/host/host-driver.ts'
import type { ImagePlan, VolumePlan } from '../../src/host/volume-host.ts'
import type { VolumeBackend } from '../../src/host/volumes/volume-backend.ts'
import { newId } from '../../src/lib/ids.ts'

/** A backend, and what a test may do beside it. */
export interface BackendWorld extends AsyncDisposable {
  readonly backend: VolumeBackend
  /** An uploaded image that the backend has never heard of. */
  newImage(): Promise<ImagePlan>
  /** A new backend on the same state, started. */
  restart(): Promise<unknown>
  /** Whatever changes when the volume does. */
  readVolume(volumeId: string): Promise<unknown>
  readSizeGib(volumeId: string): Promise<number>
  /** A guest has the volume from now on, until the scope ends. */
  hold(volumeId: string): Disposable
}

const failsAs = (failure: HostError['failure']) => (error: unknown) =>
  error instanceof HostError && error.failure === failure

/** What a host relies on, whatever volumes are kept in. Each implementation of `VolumeBackend` runs all of it. */
export function volumeBackendPromises(name: string, makeWorld: () => Promise<BackendWorld>): void {
  const promise = (says: string, body: (world: BackendWorld) => Promise<void>) =>
    test(`${name}: ${says}`, async () => {
      await using world = await makeWorld()
      await body(world)
    })

  async function newVolume({ backend }: BackendWorld, plan: Partial<VolumePlan> = {}): Promise<string> {
    const volumeId = newId()
    await backend.ensureVolume({ volumeId, sizeGib: 1, source: null, ...plan })
    return volumeId
  }

  promise('has nothing at first, and every verb that takes away accepts that', async ({ backend }) => {
    for (const _ of [1, 2]) {
      await backend.removeVolume(newId())
      await backend.removeSnapshot(newId())
      await backend.removeImage(newId())
    }
    assert.deepEqual(await backend.readDisks(), { imageIds: [], volumeIds: [], snapshotIds: [] })
  })

  promise(
    'a volume is made once, however often and at once it is asked for, and never touched again',
    async (world) => {
      const volume = { volumeId: newId(), sizeGib: 2, source: null }
      await Promise.all([1, 2, 3].map(() => world.backend.ensureVolume(volume)))
      const before = await world.readVolume(volume.volumeId)
      await world.backend.ensureVolume({ ...volume, sizeGib: 3 })
      assert.deepEqual(await world.readVolume(volume.volumeId), before)
      assert.equal(await world.readSizeGib(volume.volumeId), 2)
      assert.deepEqual((await world.backend.readDisks()).volumeIds, [volume.volumeId])
    },
  )

  promise('what there is, is there after a restart', async (world) => {
    const image = await world.newImage()
    await world.backend.ensureImage(image)
    const volumeId = await newVolume(world, { source: { kind: 'image', imageId: image.imageId } })
    const snapshotId = newId()
    await world.backend.ensureSnapshot(snapshotId, volumeId)
    const before = await world.backend.readDisks()
    assert.deepEqual(before, { imageIds: [image.imageId], volumeIds: [volumeId], snapshotIds: [snapshotId] })
    await world.restart()
    assert.deepEqual(await world.backend.readDisks(), before)
  })

  promise('a volume is as large as asked for, and as its source when that is larger', async (world) => {
    const large = await newVolume(world, { sizeGib: 3 })
    const snapshotId = newId()
    await world.backend.ensureSnapshot(snapshotId, large)
    for (const source of [
      { kind: 'volume', volumeId: large },
      { kind: 'snapshot', snapshotId },
    ] as const) {
      assert.equal(await world.readSizeGib(await newVolume(world, { sizeGib: 1, source })), 3)
      assert.equal(await world.readSizeGib(await newVolume(world, { sizeGib: 4, source })), 4)
    }
  })

  promise('a volume grows and never shrinks', async (world) => {
    const volumeId = await newVolume(world, { sizeGib: 2 })
    for (const [asked, expected] of [
      [3, 3],
      [3, 3],
      [1, 3],
    ] as const) {
      await world.backend.ensureVolumeSize(volumeId, asked)
      assert.equal(await world.readSizeGib(volumeId), expected)
    }
  })

  promise('what is not there cannot be grown, copied, reset or made from', async (world) => {
    const { backend } = world
    const [absent, own] = [newId(), await newVolume(world)]
    const missing = { kind: 'volume', volumeId: absent } as const
    const missingSnapshot = { kind: 'snapshot', snapshotId: absent } as const
    await assert.rejects(backend.ensureVolumeSize(absent, 2), failsAs('noDisk'))
    await assert.rejects(backend.ensureSnapshot(newId(), absent), failsAs('noDisk'))
    await assert.rejects(backend.ensureImageOf(newId(), missing), failsAs('noDisk'))
    await assert.rejects(backend.ensureImageOf(newId(), { kind: 'server', serverId: absent }), failsAs('noDisk'))
    await assert.rejects(backend.resetVolume(absent, { kind: 'volume', volumeId: own }), failsAs('noDisk'))
    await assert.rejects(backend.resetVolume(own, missingSnapshot), failsAs('noDisk'))
    for (const source of [missing, missingSnapshot]) {
      await assert.rejects(backend.ensureVolume({ volumeId: newId(), sizeGib: 1, source }), failsAs('noDisk'))
    }
    assert.deepEqual(await backend.readDisks(), { imageIds: [], volumeIds: [own], snapshotIds: [] })
  })

  promise('a volume goes, and may be asked to go again', async (world) => {
    const volumeId = await newVolume(world)
    for (const _ of [1, 2]) await world.backend.removeVolume(volumeId)
    assert.deepEqual((await world.backend.readDisks()).volumeIds, [])
  })

  promise('a volume that a guest has is neither removed nor reset', async (world) => {
    const volumeId = await newVolume(world)
    const snapshotId = newId()
    await world.backend.ensureSnapshot(snapshotId, volumeId)
    {
      using _ = world.hold(volumeId)
      await assert.rejects(world.backend.removeVolume(volumeId), failsAs('running'))
      await assert.rejects(world.backend.resetVolume(volumeId, { kind: 'snapshot', snapshotId }), failsAs('running'))
    }
    await world.backend.resetVolume(volumeId, { kind: 'snapshot', snapshotId })
    await world.backend.removeVolume(volumeId)
  })

  promise('a snapshot is made once, and outlives its volume', async (world) => {
    const volumeId = await newVolume(world, { sizeGib: 2 })
    const snapshotId = newId()
    for (const _ of [1, 2]) await world.backend.ensureSnapshot(snapshotId, volumeId)
    await world.backend.removeVolume(volumeId)
    const copy = await newVolume(world, { source: { kind: 'snapshot', snapshotId } })
    assert.equal(await world.readSizeGib(copy), 2)
  })

  promise('a removed snapshot is kept for those made of it, and for no new ones', async (world) => {
    const { backend } = world
    const snapshotId = newId()
    const source = { kind: 'snapshot', snapshotId } as const
    await backend.ensureSnapshot(snapshotId, await newVolume(world))
    const [first, second] = [await newVolume(world, { source }), await newVolume(world, { source })]
    await backend.removeSnapshot(snapshotId)
    await assert.rejects(backend.ensureVolume({ volumeId: newId(), sizeGib: 1, source }), failsAs('noDisk'))
    await world.restart()
    await backend.removeVolume(first)
    assert.deepEqual((await world.backend.readDisks()).snapshotIds, [snapshotId])
    await world.backend.removeVolume(second)
    assert.deepEqual((await world.backend.readDisks()).snapshotIds, [])
  })

  promise('a removed image is kept for the volumes made of it', async (world) => {
    const image = await world.newImage()
    for (const _ of [1, 2]) await world.backend.ensureImage(image)
    const source = { kind: 'image', imageId: image.imageId } as const
    const volumeId = await newVolume(world, { source })
    await world.backend.removeImage(image.imageId)
    assert.deepEqual((await world.backend.readDisks()).imageIds, [image.imageId])
    await world.backend.resetVolume(volumeId, { kind: 'volume', volumeId: await newVolume(world) })
    assert.deepEqual((await world.backend.readDisks()).imageIds, [])
  })

  promise(
    'nobody gets the bytes of a removed image that stands for others, and its id is free once they go',
    async (world) => {
      const image = await world.newImage()
      const { imageId } = image
      await world.backend.ensureImage(image)
      const volumeId = await newVolume(world, { source: { kind: 'image', imageId } })
      const other = { kind: 'volume', volumeId: await newVolume(world) } as const
      await world.backend.removeImage(imageId)
      await assert.rejects(world.backend.ensureImage(image), failsAs('badImage'))
      await world.restart()
      await assert.rejects(world.backend.ensureImageOf(imageId, other), failsAs('badImage'))
      await world.backend.removeImage(imageId)
      assert.deepEqual((await world.backend.readDisks()).imageIds, [imageId])
      await world.backend.removeVolume(volumeId)
      assert.deepEqual((await world.backend.readDisks()).imageIds, [])
      await world.backend.ensureImage(image)
      await newVolume(world, { source: { kind: 'image', imageId } })
    },
  )

  promise('an image is made of a volume, once, and volumes of it', async (world) => {
    const volumeId = await newVolume(world, { sizeGib: 2 })
    const imageId = newId()
    const first = await world.backend.ensureImageOf(imageId, { kind: 'volume', volumeId })
    assert.equal(first.virtualBytes, 2 * 1024 ** 3)
    const raw = await world.backend.ensureImageOf(imageId, { kind: 'volume', volumeId }, 'raw')
    assert.equal(raw.virtualBytes, 2 * 1024 ** 3)
    assert.notEqual(raw.file, first.file)
    assert.equal((await stat(raw.file)).size, raw.sizeBytes)
    assert.deepEqual(await world.backend.ensureImageOf(imageId, { kind: 'volume', volumeId }, 'raw'), raw)
    await world.backend.ensureVolumeSize(volumeId, 3)
    assert.deepEqual(await world.backend.ensureImageOf(imageId, { kind: 'volume', volumeId }), first)
    await newVolume(world, { source: { kind: 'image', imageId } })
  })
}
