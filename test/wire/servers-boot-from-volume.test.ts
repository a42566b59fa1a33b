/** Servers that boot from volumes, and creates that bring disks: block_device_mapping in both its forms. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { describe, test } from 'node:test'
import { MOST_DISKS } from '../../src/host/volume-host.ts'
import { assertFault } from '../support/assert-fault.ts'
import { countRows } from '../support/count-rows.ts'
import { untilDone } from '../support/scenarios.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { type Client, DATABASES, type TestCloud } from '../support/test-cloud.ts'
import { addSnapshot, addVolume, disksInGuest, findVolumeRow, liftVolumeQuotas, statusOf } from '../support/volumes.ts'

type Json = Record<string, unknown>
const NOBODY = randomUUID()

/** A flavor with an ephemeral disk of 2 GiB and 64 MiB of swap. */
async function addFlavor(cloud: TestCloud): Promise<string> {
  const { db } = cloud.cloud
  const tiny = await db.read.selectFrom('flavors').selectAll().where('name', '=', 'tiny').executeTakeFirstOrThrow()
  const id = randomUUID()
  await db.transaction((tx) =>
    tx
      .insertInto('flavors')
      .values({ ...tiny, id, name: `of ${id}`, ephemeralGib: 2, swapMib: 64 })
      .execute(),
  )
  return id
}

/** Creates without an image unless one is named. */
async function create(cloud: TestCloud, change: Json, client: Client = cloud.member) {
  const { server } = await cloud.wish()
  const { imageRef: _, ...bare } = server
  return client.post('/servers', { server: { ...bare, ...change } })
}

async function created(cloud: TestCloud, change: Json): Promise<string> {
  const answer = await create(cloud, change)
  assert.equal(answer.statusCode, 202, answer.body)
  const { id } = answer.json().server
  await untilDone(cloud, id)
  return id
}

async function show(cloud: TestCloud, id: string): Promise<Json> {
  return (await cloud.member.get(`/servers/${id}`)).json().server
}

const attachedTo = (server: Json): string[] =>
  (server['os-extended-volumes:volumes_attached'] as { id: string }[]).map(({ id }) => id)

async function remove(cloud: TestCloud, id: string): Promise<void> {
  assert.equal((await cloud.member.delete(`/servers/${id}`)).statusCode, 202)
  await untilDone(cloud, id)
}

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database })
    const imageOf = async (cloud: TestCloud) => (await cloud.wish()).server.imageRef as string

    test('a server boots from a volume made from an image, shows no image, and claims no disk', async () => {
      const cloud = shared()
      const uuid = await imageOf(cloud)
      const root = { uuid, source_type: 'image', destination_type: 'volume', boot_index: '0', volume_size: '3' }
      const before = cloud.machine.volumes.size
      for (const imageRef of ['', undefined, null]) {
        const id = await created(cloud, {
          imageRef,
          block_device_mapping_v2: [{ ...root, delete_on_termination: true }],
        })
        const server = await show(cloud, id)
        assert.deepEqual([server.status, server.image], ['ACTIVE', ''])
        const [volumeId = ''] = attachedTo(server)
        const volume = await findVolumeRow(cloud, volumeId)
        assert.deepEqual(
          [volume?.status, volume?.sizeGib, volume?.hostName, volume?.isBootable],
          ['in-use', 3, 'test-host', 1],
        )
        assert.deepEqual(cloud.machine.volumes.get(volumeId), { sizeGib: 3, source: { kind: 'image', imageId: uuid } })
        assert.equal(cloud.machine.servers.get(id)?.disks.get(volumeId)?.bootIndex, 0)
        assert.equal(cloud.machine.servers.get(id)?.disk, undefined)
        const claim = await cloud.cloud.db.read
          .selectFrom('claims')
          .select('diskGib')
          .where('serverId', '=', id)
          .executeTakeFirstOrThrow()
        assert.equal(claim.diskGib, 0)
        const list = (await cloud.member.get('/servers/detail')).json().servers
        assert.equal(list.find((one: Json) => one.id === id).image, '')
        const updated = await cloud.member.put(`/servers/${id}`, { server: { name: 'renamed' } })
        assert.equal(updated.json().server.image, '')
        assertFault(
          await cloud.member.delete(`/servers/${id}/os-volume_attachments/${volumeId}`),
          400,
          /boots from; it cannot be detached/,
        )
        await remove(cloud, id)
        assert.equal(await statusOf(cloud, volumeId), 'gone')
      }
      assert.equal(cloud.machine.volumes.size, before)
    })

    test('a server boots from a volume, which is free again when the server is gone, and the next boots from it', async () => {
      const cloud = shared()
      const imageMetadata = JSON.stringify({ hw_disk_bus: 'scsi', image_id: NOBODY, min_ram: '64' })
      const uuid = await addVolume(cloud, { isBootable: 1, imageMetadata })
      for (const mapping of [
        { block_device_mapping_v2: [{ uuid, source_type: 'volume', destination_type: 'volume', boot_index: 0 }] },
        { block_device_mapping_v2: [{ volume_id: uuid, source_type: 'volume', boot_index: 0 }] },
        { block_device_mapping: [{ volume_id: uuid, device_name: 'vda' }] },
        { block_device_mapping: [{ volume_id: uuid, device_name: '/dev/vdc' }] },
      ]) {
        const id = await created(cloud, mapping)
        assert.deepEqual(disksInGuest(cloud, id), [uuid])
        assert.deepEqual(cloud.machine.servers.get(id)?.disks.get(uuid), {
          diskId: uuid,
          kind: 'volume',
          device: 'vda',
          bootIndex: 0,
          bus: 'scsi',
        })
        assert.equal((await cloud.server(id)).imageProperties, '{"hw_disk_bus":"scsi"}')
        assert.equal((await show(cloud, id)).image, '')
        await remove(cloud, id)
        assert.equal(await statusOf(cloud, uuid), 'available')
      }
    })

    test('an image brings the root while volumes of all sources and local disks come beside it', async () => {
      const cloud = shared()
      const [imageRef, flavorRef] = [await imageOf(cloud), await addFlavor(cloud)]
      const [volume, origin] = [await addVolume(cloud), await addVolume(cloud, { sizeGib: 2 })]
      const snapshot = await addSnapshot(cloud, origin)
      const id = await created(cloud, {
        imageRef,
        flavorRef,
        block_device_mapping_v2: [
          // Stock clients name the image's own disk too.
          { uuid: imageRef, source_type: 'image', destination_type: 'local', boot_index: 0 },
          { uuid: volume, source_type: 'volume', destination_type: 'volume', boot_index: 1, device_name: 'vdf' },
          { uuid: snapshot, source_type: 'snapshot', destination_type: 'volume', boot_index: -1 },
          { source_type: 'blank', destination_type: 'volume', volume_size: 1, volume_type: 'sata', tag: 'data' },
          { source_type: 'blank', destination_type: 'local', volume_size: 1 },
          { source_type: 'blank', destination_type: 'local', guest_format: 'swap', volume_size: 32 },
          { source_type: 'image', no_device: true },
        ],
      })
      const server = await show(cloud, id)
      assert.equal((server.image as Json).id, imageRef)
      const disks = [...(cloud.machine.servers.get(id)?.disks.values() ?? [])]
      assert.deepEqual(
        disks.map(({ device, kind, bootIndex }) => [device, kind, bootIndex]),
        [
          ['vdb', 'local', null],
          ['vdc', 'local', null],
          ['vdd', 'volume', null],
          ['vde', 'volume', null],
          ['vdf', 'volume', null],
        ],
      )
      const blank = [...(cloud.machine.servers.get(id)?.blankDisks.values() ?? [])]
      assert.deepEqual(
        blank.map(({ content, sizeMib }) => [content, sizeMib]),
        [
          ['ext4', 1024],
          ['swap', 32],
        ],
      )
      const [fromSnapshot = '', fromNothing = '', given] = attachedTo(server)
      assert.equal(given, volume)
      assert.deepEqual(cloud.machine.volumes.get(fromSnapshot), {
        sizeGib: 2,
        source: { kind: 'snapshot', snapshotId: snapshot },
      })
      const { typeId } = (await findVolumeRow(cloud, fromNothing)) ?? assert.fail()
      const type = await cloud.cloud.db.read
        .selectFrom('volumeTypes')
        .select('name')
        .where('id', '=', typeId)
        .executeTakeFirst()
      assert.equal(type?.name, 'sata')
      const claim = await cloud.cloud.db.read
        .selectFrom('claims')
        .select('diskGib')
        .where('serverId', '=', id)
        .executeTakeFirstOrThrow()
      assert.equal(claim.diskGib, 3)
      await remove(cloud, id)
      assert.deepEqual(await Promise.all([volume, fromSnapshot, fromNothing].map((one) => statusOf(cloud, one))), [
        'available',
        'available',
        'available',
      ])
    })

    test('a flavor brings its ephemeral disk and its swap by itself', async () => {
      const cloud = shared()
      const id = await created(cloud, { imageRef: await imageOf(cloud), flavorRef: await addFlavor(cloud) })
      const blank = [...(cloud.machine.servers.get(id)?.blankDisks.values() ?? [])]
      assert.deepEqual(
        blank.map(({ content, sizeMib }) => [content, sizeMib]),
        [
          ['ext4', 2048],
          ['swap', 64],
        ],
      )
      assert.equal(disksInGuest(cloud, id).length, 2)
      assert.deepEqual(attachedTo(await show(cloud, id)), [])
      await remove(cloud, id)
    })

    test('several servers at once get a volume each', async () => {
      const cloud = shared()
      const root = { uuid: await imageOf(cloud), source_type: 'image', destination_type: 'volume', boot_index: 0 }
      const mapping = [{ ...root, volume_size: 1, delete_on_termination: true }]
      const answer = await create(cloud, {
        min_count: 2,
        return_reservation_id: true,
        block_device_mapping_v2: mapping,
      })
      assert.equal(answer.statusCode, 202, answer.body)
      const { reservation_id: reservationId } = answer.json()
      const rows = await cloud.cloud.db.read
        .selectFrom('servers')
        .select('id')
        .where('reservationId', '=', reservationId)
        .execute()
      for (const { id } of rows) await untilDone(cloud, id)
      const volumes = await Promise.all(rows.map(async ({ id }) => attachedTo(await show(cloud, id))))
      assert.equal(new Set(volumes.flat()).size, 2)
      for (const { id } of rows) await remove(cloud, id)
    })

    test('what does not go together is refused with its reason, and leaves nothing', async () => {
      const cloud = shared()
      const { member } = cloud
      const imageRef = await imageOf(cloud)
      const [free, busy, foreign, elsewhere, bootable] = [
        await addVolume(cloud),
        await addVolume(cloud, { status: 'extending' }),
        await addVolume(cloud, { projectId: 'somebody-else' }),
        await addVolume(cloud, { availabilityZone: 'mars' }),
        await addVolume(cloud, { isBootable: 1, sizeGib: 5 }),
      ]
      const snapshot = await addSnapshot(cloud, bootable)
      const volume = (uuid: string) => ({ uuid, source_type: 'volume', destination_type: 'volume' })
      const blank = { source_type: 'blank', destination_type: 'volume' }
      const local = { source_type: 'blank', destination_type: 'local' }
      const image = { uuid: imageRef, source_type: 'image', destination_type: 'volume' }
      const bad: [Json[], RegExp, Json?][] = [
        [[], /imageRef/],
        [[volume(free)], /boot sequence/],
        [[{ ...volume(free), boot_index: 1 }], /boot sequence/],
        [[{ ...volume(free), boot_index: 0 }], /is not bootable/],
        [
          [
            { ...volume(bootable), boot_index: 0 },
            { ...volume(free), boot_index: 2 },
          ],
          /boot sequence/,
        ],
        [
          [
            { ...volume(bootable), boot_index: 0 },
            { ...volume(free), boot_index: 0 },
          ],
          /boot sequence/,
        ],
        [[{ ...volume(bootable), boot_index: 0 }, volume(bootable)], /named twice/],
        [[{ ...volume(bootable), boot_index: 0, volume_type: 'ssd' }], /volume_type/],
        [
          [
            { ...volume(bootable), boot_index: 0 },
            { ...volume(free), device_name: 'vda' },
          ],
          /vda/,
        ],
        [[{ ...volume(free), boot_index: 2 }], /boot sequence/, { imageRef }],
        [[volume(busy)], /must be available; it is extending/, { imageRef }],
        [[volume(foreign)], /could not be found/, { imageRef }],
        [[volume(NOBODY)], /could not be found/, { imageRef }],
        [[volume(elsewhere)], /zone mars/, { imageRef }],
        [[volume(free)], /several servers/, { imageRef, min_count: 2 }],
        [[{ ...volume(free), uuid: undefined }], /needs a uuid/, { imageRef }],
        [[{ ...volume(free), destination_type: 'local' }], /local disk/, { imageRef }],
        [[{ ...volume(free), device_name: 'sdb' }], /no name of a disk/, { imageRef }],
        [
          [
            { ...volume(free), device_name: 'vdc' },
            { ...blank, volume_size: 1, device_name: 'vdc' },
          ],
          /used twice/,
          { imageRef },
        ],
        [[blank], /volume_size/, { imageRef }],
        [[{ ...blank, uuid: free, volume_size: 1 }], /no uuid/, { imageRef }],
        [[{ ...blank, volume_size: 1, boot_index: 0 }], /not bootable/],
        [[{ ...blank, volume_size: 1, volume_type: 'tape' }], /tape could not be found/, { imageRef }],
        [[image], /volume_size/, { imageRef }],
        [[{ ...image, uuid: NOBODY, volume_size: 1, boot_index: 0 }], /could not be found/],
        [[{ ...image, destination_type: 'local' }], /only as imageRef/, { imageRef }],
        [[{ ...image, destination_type: 'local', boot_index: 0 }], /only as imageRef/],
        [[{ ...image, destination_type: 'local', boot_index: 0, uuid: NOBODY }], /only as imageRef/, { imageRef }],
        [[{ uuid: NOBODY, source_type: 'snapshot' }], /could not be found/, { imageRef }],
        [[{ uuid: snapshot, source_type: 'snapshot', volume_size: 4 }], /smaller/, { imageRef }],
        [[{ ...local, volume_size: 1 }], /ephemeral/, { imageRef }],
        [[local], /ephemeral/, { imageRef }],
        [[{ ...local, guest_format: 'swap', volume_size: 1 }], /swap/, { imageRef }],
        [[{ ...local, guest_format: 'ntfs' }], /ntfs/, { imageRef }],
        [[{ ...local, boot_index: 0 }], /not bootable/],
        [[{ destination_type: 'volume' }], /source_type/, { imageRef }],
      ]
      const before = await countRows(cloud)
      for (const [mapping, message, more = {}] of bad) {
        const answer = await create(cloud, { ...more, block_device_mapping_v2: mapping })
        assertFault(answer, 400, message, JSON.stringify([mapping, more]))
      }
      for (const [mapping, message] of [
        [[{ volume_id: NOBODY }], /could not be found/],
        [[{ virtual_name: 'ephemeral0', volume_size: 1 }], /ephemeral/],
        [[{ virtual_name: 'floppy' }], /virtual_name/],
        [[{}], /volume_id/],
      ] as [Json[], RegExp][]) {
        assertFault(await create(cloud, { imageRef, block_device_mapping: mapping }), 400, message)
      }
      const both = { block_device_mapping: [{ volume_id: free }], block_device_mapping_v2: [volume(free)] }
      assertFault(await create(cloud, { imageRef, ...both }), 400, /do not go together/)
      const many = Array.from({ length: MOST_DISKS + 1 }, () => ({ ...blank, volume_size: 1 }))
      assertFault(await create(cloud, { imageRef, block_device_mapping_v2: many }), 403, /takes 7 disks/)
      assertFault(
        await create(cloud, { imageRef, block_device_mapping_v2: [{ ...blank, volume_size: 100_000_000 }] }),
        403,
        /Quota exceeded for gigabytes/,
      )
      for (const [key, value] of Object.entries({
        source_type: 'tape',
        destination_type: 'moon',
        uuid: 'a b',
        boot_index: 'first',
        volume_size: 0,
        delete_on_termination: 'maybe',
        device_name: 5,
        tag: 'a,b',
      })) {
        const answer = await create(cloud, { imageRef, block_device_mapping_v2: [{ ...volume(free), [key]: value }] })
        assertFault(answer, 400, new RegExp(`block_device_mapping_v2.0.${key}`), key)
      }
      assert.deepEqual(await countRows(cloud), before)
      assert.deepEqual([await statusOf(cloud, free), await statusOf(cloud, bootable)], ['available', 'available'])
      // A stranger learns nothing of it, and its own admin's rights do not mix projects.
      const stranger = await cloud.stranger()
      const mapping = [{ ...volume(bootable), boot_index: 0 }]
      assertFault(await create(cloud, { block_device_mapping_v2: mapping }, stranger), 400, /could not be found/)
      assert.notEqual(stranger.projectId, member.projectId)
    })

    test('quotas of volumes hold for creates, and a refused one makes nothing', async () => {
      const cloud = shared()
      await liftVolumeQuotas(cloud)
      const { projectId } = cloud.member
      const limit = (most: number) =>
        cloud.cloud.db.transaction((tx) =>
          tx
            .updateTable('volumeQuotas')
            .set({ most })
            .where('projectId', '=', projectId)
            .where('resource', '=', 'volumes')
            .executeTakeFirst(),
        )
      const blank = { source_type: 'blank', destination_type: 'volume', volume_size: 1 }
      await limit(0)
      const before = await countRows(cloud)
      const wish = { imageRef: await imageOf(cloud), block_device_mapping_v2: [blank] }
      assertFault(await create(cloud, wish), 403, /Quota exceeded for volumes/)
      assert.deepEqual(await countRows(cloud), before)
      await limit(-1)
    })
  })
}
