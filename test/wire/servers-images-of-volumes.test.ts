/** createImage of servers that boot from volumes: snapshots, an image without bytes, and servers made from it. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { HostError } from '../../src/host/host-driver.ts'
import { assertFault } from '../support/assert-fault.ts'
import { countRows } from '../support/count-rows.ts'
import { gates } from '../support/gates.ts'
import { untilDone } from '../support/scenarios.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { type Answer, DATABASES, type TestCloud } from '../support/test-cloud.ts'
import { cinder } from '../support/volume-requests.ts'
import { addVolume, findVolumeRow, liftVolumeQuotas, statusOf, volumesOf } from '../support/volumes.ts'

const newGate = gates()

type Json = Record<string, unknown>

async function boot(cloud: TestCloud, change: Json): Promise<string> {
  const { server } = await cloud.wish({ imageRef: '' })
  const answer = await cloud.member.post('/servers', { server: { ...server, ...change } })
  assert.equal(answer.statusCode, 202, answer.body)
  const { id } = answer.json().server
  await untilDone(cloud, id)
  assert.equal((await cloud.server(id)).vmState, 'active', (await cloud.server(id)).faultMessage ?? '')
  return id
}

/** A server on a bootable volume of 4 GiB, with another one of 2 GiB that goes with it. */
async function bootFromVolumes(cloud: TestCloud): Promise<{ id: string; root: string; data: string }> {
  const imageMetadata = JSON.stringify({ os_admin_user: 'root', image_id: 'x', min_ram: '64' })
  const root = await addVolume(cloud, { isBootable: 1, sizeGib: 4, imageMetadata })
  const data = await addVolume(cloud, { sizeGib: 2, description: 'of data' })
  const id = await boot(cloud, {
    block_device_mapping_v2: [
      { uuid: root, source_type: 'volume', destination_type: 'volume', boot_index: 0 },
      {
        ...{ uuid: data, source_type: 'volume', destination_type: 'volume', device_name: '/dev/vdf', tag: 'data' },
        ...{ delete_on_termination: true, disk_bus: 'scsi', device_type: 'disk' },
      },
    ],
  })
  return { id, root, data }
}

const image = async (cloud: TestCloud, id: string, name = 'of volumes', more: Json = {}): Promise<Answer> =>
  cloud.member.post(`/servers/${id}/action`, { createImage: { name, ...more } })

const listSnapshots = async (cloud: TestCloud): Promise<Json[]> =>
  (await cinder(cloud.member).get('/snapshots/detail')).json().snapshots

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database, servers: { web: {} } })

    test('an image of it has no bytes, names a snapshot of each volume, and a server boots from those', async () => {
      const cloud = shared()
      await liftVolumeQuotas(cloud)
      const { id, root, data } = await bootFromVolumes(cloud)
      const answer = await image(cloud, id, 'mine', { metadata: { colour: 'red' } })
      assert.equal(answer.statusCode, 202, answer.body)
      const { image_id: imageId } = answer.json()
      await untilDone(cloud, id)
      const { vmState, taskState } = await cloud.server(id)
      assert.deepEqual([vmState, taskState], ['active', null])

      const shown = (await cloud.member.get(`//v2/images/${imageId}`)).json()
      assert.deepEqual(
        [shown.status, shown.size, shown.checksum, shown.min_disk, shown.bdm_v2, shown.root_device_name, shown.colour],
        ['active', 0, 'd41d8cd98f00b204e9800998ecf8427e', 4, 'True', '/dev/vda', 'red'],
      )
      assert.equal((await cloud.member.get(`//v2/images/${imageId}/file`)).statusCode, 204)
      const snapshots = await listSnapshots(cloud)
      const of = (volume: string) => snapshots.find(({ volume_id }) => volume_id === volume) ?? assert.fail()
      assert.deepEqual(
        [root, data].map((volume) => [of(volume).name, of(volume).description, of(volume).status, of(volume).size]),
        [
          ['snapshot for mine', null, 'available', 4],
          ['snapshot for mine', 'of data', 'available', 2],
        ],
      )
      const common = { source_type: 'snapshot', destination_type: 'volume', device_type: 'disk' }
      assert.deepEqual(JSON.parse(shown.block_device_mapping), [
        {
          ...{ ...common, snapshot_id: of(root).id, volume_size: 4, boot_index: 0, device_name: '/dev/vda' },
          ...{ delete_on_termination: false, disk_bus: null, tag: null },
        },
        {
          ...{ ...common, snapshot_id: of(data).id, volume_size: 2, boot_index: null, device_name: '/dev/vdf' },
          ...{ delete_on_termination: true, disk_bus: 'scsi', tag: 'data' },
        },
      ])
      assert.ok(cloud.machine.snapshots.has(String(of(root).id)))

      // The same whether the image is named as such, or as what a volume to boot from is made of.
      const asRoot = { uuid: imageId, source_type: 'image', destination_type: 'volume', boot_index: 0, volume_size: 4 }
      for (const wish of [
        { imageRef: imageId },
        { imageRef: imageId, block_device_mapping_v2: [{ ...asRoot, destination_type: 'local' }] },
        { block_device_mapping_v2: [asRoot] },
      ]) {
        const copy = await boot(cloud, wish)
        const copies = await volumesOf(cloud, copy)
        const rows = await Promise.all(copies.map((one) => findVolumeRow(cloud, one)))
        assert.deepEqual(
          rows.map((row) => [row?.snapshotId, row?.sizeGib, row?.status]),
          [
            [of(root).id, 4, 'in-use'],
            [of(data).id, 2, 'in-use'],
          ],
        )
        const { server } = (await cloud.member.get(`/servers/${copy}`)).json()
        assert.deepEqual([server.status, server.image], ['ACTIVE', ''])
        const disk = cloud.machine.servers.get(copy)?.disks.get(copies[1] ?? '')
        assert.deepEqual([disk?.device, disk?.bus], ['vdf', 'scsi'])
        const { imageProperties } = await cloud.server(copy)
        assert.doesNotMatch(imageProperties, /block_device_mapping|bdm_v2|root_device_name/)
        assert.equal((await cloud.member.delete(`/servers/${copy}`)).statusCode, 202)
        await untilDone(cloud, copy)
        assert.deepEqual(await Promise.all(copies.map((one) => statusOf(cloud, one))), ['available', 'gone'])
      }

      // Who names a disk of the image gives it another content, and a volume begins as the root's snapshot.
      const blank = { source_type: 'blank', destination_type: 'volume', volume_size: 1, device_name: 'vdf' }
      const other = await boot(cloud, { imageRef: imageId, block_device_mapping_v2: [blank] })
      const [, second = ''] = await volumesOf(cloud, other)
      assert.equal((await findVolumeRow(cloud, second))?.snapshotId, null)
      const volume = { size: 4, imageRef: imageId }
      const made = await cinder(cloud.member, '3.46').post('/volumes', { volume })
      assert.equal(made.json().volume?.snapshot_id, of(root).id, made.body)
      assertFault(await cinder(cloud.member, '3.45').post('/volumes', { volume }), 400, /has no bytes/)

      // Its snapshots outlive the image.
      assert.equal((await cloud.member.request({ method: 'DELETE', url: `//v2/images/${imageId}` })).statusCode, 204)
      await cloud.settled()
      assert.deepEqual(
        (await listSnapshots(cloud)).map(({ status }) => status),
        ['available', 'available'],
      )
      for (const one of snapshots) {
        assert.equal((await cinder(cloud.member).delete(`/snapshots/${one.id}`)).statusCode, 202)
      }
      await cloud.settled()
      assert.deepEqual(await listSnapshots(cloud), [])
    })

    test('quotas, volumes that are busy and names of ours are told before anything is made', async () => {
      const cloud = shared()
      await liftVolumeQuotas(cloud)
      const { id, data } = await bootFromVolumes(cloud)
      const before = await countRows(cloud)
      const limit = (most: number) =>
        cloud.cloud.db.transaction((tx) =>
          tx.updateTable('volumeQuotas').set({ most }).where('resource', '=', 'snapshots').executeTakeFirst(),
        )
      await limit(1)
      assertFault(await image(cloud, id), 403, /createImage: Quota exceeded for snapshots: requested 1, already used 1/)
      await limit(-1)
      const { db } = cloud.cloud
      const mark = (status: 'extending' | 'in-use') =>
        db.transaction((tx) => tx.updateTable('volumes').set({ status }).where('id', '=', data).executeTakeFirst())
      await mark('extending')
      assertFault(await image(cloud, id), 409, /is extending/)
      await mark('in-use')
      for (const name of ['block_device_mapping', 'bdm_v2', 'root_device_name', 'mappings']) {
        assertFault(await image(cloud, id, 'a', { metadata: { [name]: '[]' } }), 400, new RegExp(name))
        assertFault(await image(cloud, cloud.id.web ?? '', 'a', { metadata: { [name]: '[]' } }), 400, new RegExp(name))
      }
      assert.deepEqual(await countRows(cloud), before)
      assert.equal((await cloud.server(id)).taskState, null)
    })

    test('what a host cannot take leaves no image and no snapshot; nor does a delete of the server', async () => {
      const cloud = shared()
      await liftVolumeQuotas(cloud)
      const { id, data } = await bootFromVolumes(cloud)
      const before = cloud.machine.snapshots.size
      const [gate, reached] = [newGate(), newGate()]
      let taken = 0
      cloud.host.intercept = async (verb, _id, run) => {
        if (verb !== 'ensureSnapshot') return run()
        taken += 1
        if (taken === 2) throw new HostError('noSpace', 'The disk of the host is full.')
        return run()
      }
      const failed = (await image(cloud, id)).json().image_id
      await untilDone(cloud, id)
      assert.deepEqual(await cloud.actions(id), ['create Success', 'createImage Error'])
      const { vmState, taskState } = await cloud.server(id)
      assert.deepEqual([vmState, taskState, await listSnapshots(cloud)], ['active', null, []])
      assert.equal((await cloud.member.get(`//v2/images/${failed}`)).statusCode, 404)
      assert.equal(cloud.machine.snapshots.size, before)
      taken = 0
      cloud.host.intercept = async (verb, _id, run) => {
        if (verb !== 'ensureSnapshot') return run()
        taken += 1
        if (taken === 1) return run()
        reached.resolve()
        await gate.promise
        return run()
      }
      const { image_id: imageId } = (await image(cloud, id)).json()
      await reached.promise
      const [snapshot] = await listSnapshots(cloud)
      assert.equal(snapshot?.status, 'creating')
      assertFault(await cinder(cloud.member).delete(`/snapshots/${snapshot?.id}`), 409, /An image of server/)
      const byForce = { 'os-force_delete': {} }
      const path = `/snapshots/${snapshot?.id}/action`
      assertFault(await cinder(cloud.admin).post(path, byForce), 409, /An image of server/)
      assert.equal((await cloud.member.delete(`/servers/${id}`)).statusCode, 202)
      gate.resolve()
      await untilDone(cloud, id)
      cloud.host.intercept = (_verb, _id, run) => run()
      assert.deepEqual(await listSnapshots(cloud), [])
      assert.equal(cloud.machine.snapshots.size, before)
      assert.equal((await cloud.member.get(`//v2/images/${imageId}`)).statusCode, 404)
      assert.equal(await statusOf(cloud, data), 'gone')
    })

    test('an image that was put out of use brings no disks, however it is named', async () => {
      const cloud = shared()
      await liftVolumeQuotas(cloud)
      const { id } = await bootFromVolumes(cloud)
      const { image_id: imageId } = (await image(cloud, id)).json()
      await untilDone(cloud, id)
      assert.equal((await cloud.admin.post(`//v2/images/${imageId}/actions/deactivate`, {})).statusCode, 204)
      const asRoot = { uuid: imageId, source_type: 'image', destination_type: 'volume', boot_index: 0, volume_size: 4 }
      for (const wish of [{ imageRef: imageId }, { imageRef: '', block_device_mapping_v2: [asRoot] }]) {
        const { server } = await cloud.wish(wish)
        assertFault(await cloud.member.post('/servers', { server }), 400, /is not active/)
      }
    })

    test('disks that an image was given by hand are not believed', async () => {
      const cloud = shared()
      await liftVolumeQuotas(cloud)
      const volume = await addVolume(cloud, { isBootable: 1 })
      const made = await cloud.member.post('//v2/images', {
        name: 'by hand',
        disk_format: 'raw',
        container_format: 'bare',
      })
      assert.equal(made.statusCode, 201, made.body)
      const { id } = made.json()
      const { server } = await cloud.wish({ imageRef: id })
      const item = { source_type: 'snapshot', snapshot_id: volume, boot_index: 0 }
      for (const [mapping, message] of [
        ['', /no JSON/],
        ['{}', /must be array/],
        ['[5]', /block_device_mapping.0 must be object/],
        [JSON.stringify([{ ...item, disk_bus: 'fdc' }]), /disk_bus 'fdc' is not available/],
        [JSON.stringify([{ source_type: 'volume', volume_id: volume, boot_index: 0 }]), /it names a volume/],
        [JSON.stringify([item]), /could not be found/],
        ['[]', /has no bytes, and brings no disk/],
        [JSON.stringify(Array.from({ length: 99 }, () => item)), /must NOT have more than/],
      ] as const) {
        await cloud.cloud.db.transaction((tx) =>
          tx
            .updateTable('images')
            .set({ properties: JSON.stringify({ block_device_mapping: mapping, bdm_v2: 'True' }) })
            .set({ status: 'active', sizeBytes: 0 })
            .where('id', '=', id)
            .executeTakeFirst(),
        )
        assertFault(await cloud.member.post('/servers', { server }), 400, message, mapping)
      }
      assert.equal(await statusOf(cloud, volume), 'available')
    })
  })
}
