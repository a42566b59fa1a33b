/** What a disk is plugged into, and whether a guest may write to it: honoured or refused, never ignored. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { listDeviceFacts } from '../../src/servers/block-device-store.ts'
import { updateVolume } from '../../src/volumes/volume-store.ts'
import { assertFault } from '../support/assert-fault.ts'
import { countRows } from '../support/count-rows.ts'
import { untilDone } from '../support/scenarios.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { DATABASES, type TestCloud } from '../support/test-cloud.ts'
import { actOn, cinder, makeVolume, showVolume } from '../support/volume-requests.ts'
import { addVolume, attachVolume, detachVolume, statusOf } from '../support/volumes.ts'

type Json = Record<string, unknown>

async function create(cloud: TestCloud, mapping: Json[], change: Json = {}) {
  const { server } = await cloud.wish(change)
  return cloud.member.post('/servers', { server: { ...server, block_device_mapping_v2: mapping } })
}

const disksOf = (cloud: TestCloud, id: string) => [...(cloud.machine.servers.get(id)?.disks.values() ?? [])]

const setReadOnly = (cloud: TestCloud, id: string, readonly: boolean) =>
  actOn(cloud.member, id, { 'os-update_readonly_flag': { readonly } })

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database, servers: { web: {} } })

    test('a read-only volume is that in the guest, and its flag stays while a server has it', async () => {
      const cloud = shared()
      const web = cloud.id.web ?? ''
      const id = await makeVolume(cloud)
      assert.equal((await setReadOnly(cloud, id, true)).statusCode, 202)
      assert.equal((await attachVolume(cloud, web, id)).statusCode, 202)
      await cloud.settled()
      const [disk] = disksOf(cloud, web)
      assert.deepEqual([disk?.diskId, disk?.isReadOnly, disk?.bus], [id, true, 'virtio'])
      const { attachments } = (await cinder(cloud.member, '3.27').get('/attachments/detail')).json()
      assert.deepEqual(
        attachments.map((one: Json) => [one.volume_id, one.attach_mode, one.connection_info]),
        [[id, 'ro', { access_mode: 'ro' }]],
      )
      assertFault(await setReadOnly(cloud, id, false), 400, /must be available, and is in-use/)
      assertFault(await actOn(cloud.member, id, { 'os-extend': { new_size: 9 } }), 400, /read-only/)
      // The server's next start gives it the same.
      for (const body of [{ 'os-stop': null }, { 'os-start': null }]) {
        assert.equal((await cloud.member.post(`/servers/${web}/action`, body)).statusCode, 202)
        await untilDone(cloud, web)
      }
      assert.equal(disksOf(cloud, web)[0]?.isReadOnly, true)
      assert.equal((await detachVolume(cloud, web, id)).statusCode, 202)
      await cloud.settled()
      assert.equal((await setReadOnly(cloud, id, false)).statusCode, 202)
      assert.equal((await showVolume(cloud, id)).metadata.readonly, 'False')
      assert.equal((await attachVolume(cloud, web, id)).statusCode, 202)
      await cloud.settled()
      assert.equal(disksOf(cloud, web)[0]?.isReadOnly, undefined)
      const modes = (await cinder(cloud.member, '3.27').get('/attachments/detail')).json().attachments
      assert.deepEqual([modes[0].attach_mode, modes[0].connection_info], ['rw', { access_mode: 'rw' }])
      assert.equal((await detachVolume(cloud, web, id)).statusCode, 202)
      await cloud.settled()
    })

    test('a volume that a server has as a CD does not grow meanwhile', async () => {
      const cloud = shared()
      const id = await addVolume(cloud)
      const cd = { uuid: id, source_type: 'volume', destination_type: 'volume', device_type: 'cdrom', disk_bus: 'scsi' }
      const own = { source_type: 'image', destination_type: 'local', boot_index: 0 }
      const { server } = await cloud.wish()
      const answer = await create(cloud, [{ ...own, uuid: server.imageRef }, cd])
      assert.equal(answer.statusCode, 202, answer.body)
      await untilDone(cloud, answer.json().server.id)
      assert.equal(await statusOf(cloud, id), 'in-use')
      assertFault(await actOn(cloud.member, id, { 'os-extend': { new_size: 3 } }), 400, /read-only/)
      assert.equal((await cloud.member.delete(`/servers/${answer.json().server.id}`)).statusCode, 202)
      await cloud.settled()
    })

    test('a volume is taken as it is when it is taken: read-only meanwhile, or another project’s', async () => {
      const cloud = shared()
      const { db, clock } = cloud.cloud
      // SQLite lets one transaction in at a time: there is nothing to see.
      if (db.kind === 'sqlite') return
      const web = cloud.id.web ?? ''
      const wishes = {
        attach: (id: string) => attachVolume(cloud, web, id),
        create: (uuid: string) =>
          create(cloud, [{ uuid, source_type: 'volume', destination_type: 'volume', boot_index: 1 }]),
      }
      for (const [name, wish] of Object.entries(wishes)) {
        for (const change of [{ isReadOnly: 1 }, { projectId: cloud.admin.projectId }] as const) {
          const id = await addVolume(cloud)
          const { answer } = await db.transaction(async (tx) => {
            await updateVolume(tx, id, change, clock.now())
            const asked = wish(id)
            await pauseABit()
            return { answer: asked }
          })
          const { statusCode, body } = await answer
          if ('projectId' in change) {
            assert.equal(statusCode, name === 'attach' ? 404 : 400, body)
            assert.equal(await statusOf(cloud, id), 'available')
            continue
          }
          assert.ok(statusCode < 300, body)
          await cloud.settled()
          const devices = await db.read.selectFrom('blockDevices').selectAll().where('volumeId', '=', id).execute()
          assert.deepEqual(
            devices.map(({ isReadOnly }) => isReadOnly),
            [1],
            name,
          )
        }
      }
    })

    test('disks are plugged into what they ask for, CDs are read only, and tags are kept', async () => {
      const cloud = shared()
      const [scsi, cd] = [await addVolume(cloud), await addVolume(cloud)]
      const volume = (uuid: string, more: Json) => ({
        ...{ uuid, source_type: 'volume', destination_type: 'volume' },
        ...more,
      })
      const answer = await create(cloud, [
        volume(scsi, { disk_bus: 'SCSI', device_type: 'disk', tag: 'data' }),
        volume(cd, { device_type: 'cdrom' }),
      ])
      assert.equal(answer.statusCode, 202, answer.body)
      const { id } = answer.json().server
      await untilDone(cloud, id)
      assert.deepEqual(
        disksOf(cloud, id).map(({ diskId, bus, isCd, isReadOnly }) => [diskId, bus, isCd, isReadOnly]),
        [
          [scsi, 'scsi', undefined, undefined],
          [cd, 'sata', true, true],
        ],
      )
      const facts = await listDeviceFacts(cloud.cloud.db.read, id)
      assert.deepEqual(
        facts.map(({ tag, diskBus, deviceType, deviceName, serial }) => [tag, diskBus, deviceType, deviceName, serial]),
        [
          ['data', 'scsi', 'disk', '/dev/vdb', scsi.slice(0, 20)],
          [null, null, 'cdrom', '/dev/vdc', cd.slice(0, 20)],
        ],
      )
    })

    test('what no machine here has is refused with its reason, and leaves nothing', async () => {
      const cloud = shared()
      const [free, readOnly] = [await addVolume(cloud), await addVolume(cloud, { isReadOnly: 1 })]
      const before = await countRows(cloud)
      const volume = { uuid: free, source_type: 'volume', destination_type: 'volume' }
      for (const [item, message] of [
        [{ disk_bus: 'fdc' }, /disk_bus 'fdc' is not available/],
        [{ disk_bus: 'usb' }, /disk_bus 'usb' is not available/],
        [{ disk_bus: 'ide' }, /a q35 machine has no IDE/],
        [{ device_type: 'lun' }, /lun needs a disk of SCSI/],
        [{ device_type: 'floppy' }, /no floppy drive/],
        [{ device_type: 'tape' }, /device_type 'tape'/],
        [{ device_type: 'cdrom', disk_bus: 'virtio' }, /no CDs on virtio/],
        [{ uuid: readOnly, disk_bus: 'sata' }, /read-only, which disks on sata cannot be/],
      ] as const) {
        assertFault(await create(cloud, [{ ...volume, ...item }]), 400, message, JSON.stringify(item))
      }
      assert.deepEqual(await countRows(cloud), before)
      assert.deepEqual([await statusOf(cloud, free), await statusOf(cloud, readOnly)], ['available', 'available'])
    })

    test('what a server boots from stays plugged in, whether it runs or not', async () => {
      const cloud = shared()
      const root = await addVolume(cloud, { isBootable: 1 })
      const mapping = [{ uuid: root, source_type: 'volume', destination_type: 'volume', boot_index: 0 }]
      const answer = await create(cloud, mapping, { imageRef: '' })
      assert.equal(answer.statusCode, 202, answer.body)
      const { id } = answer.json().server
      await untilDone(cloud, id)
      assertFault(await detachVolume(cloud, id, root), 400, /boots from; it cannot be detached/)
      assert.equal((await cloud.member.post(`/servers/${id}/action`, { 'os-stop': null })).statusCode, 202)
      await untilDone(cloud, id)
      assertFault(await detachVolume(cloud, id, root), 400, /boots from; it cannot be detached/)
      assert.equal(await statusOf(cloud, root), 'in-use')
    })
  })
}

/** Long enough for the other transaction to come to where it waits. */
const pauseABit = () => new Promise((resolve) => setTimeout(resolve, 200))
