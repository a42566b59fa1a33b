/** `POST …/volumes/{id}/action`, metadata, transfers, and the states in which each is taken. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, test } from 'node:test'
import { TINY_IMAGE_ID } from '../../src/images/image-store.ts'
import { assertFault } from '../support/assert-fault.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { DATABASES, type TestCloud } from '../support/test-cloud.ts'
import { actOn, assertOverQuota, cinder, makeSnapshot, makeVolume, showVolume } from '../support/volume-requests.ts'

const setStatus = (cloud: TestCloud, id: string, status: 'creating' | 'error' | 'available' | 'maintenance') =>
  cloud.cloud.db.transaction((tx) => tx.updateTable('volumes').set({ status }).where('id', '=', id).execute())

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database })
    const act = async (id: string, body: unknown, status: number): Promise<string> => {
      const answer = await actOn(shared().member, id, body)
      assert.equal(answer.statusCode, status, answer.body)
      await shared().settled()
      return answer.body
    }

    test('extend makes larger, and nothing else', async () => {
      const cloud = shared()
      const id = await makeVolume(cloud, { size: 2 })
      await act(id, { 'os-extend': { new_size: '3' } }, 202)
      const shown = await showVolume(cloud, id)
      assert.deepEqual([shown.size, shown.status, cloud.machine.volumes.get(id)?.sizeGib], [3, 'available', 3])
      for (const size of [3, 2, 1]) {
        assertFault(await actOn(cloud.member, id, { 'os-extend': { new_size: size } }), 400, /must be larger/)
      }
      for (const size of [0, -4, 4.5, '', 'x', null, [], 3e9]) {
        assertFault(await actOn(cloud.member, id, { 'os-extend': { new_size: size } }), 400, /new_size/)
      }
      assertOverQuota(await actOn(cloud.member, id, { 'os-extend': { new_size: 100_000 } }), /gigabytes/)
      await setStatus(cloud, id, 'error')
      assertFault(await actOn(cloud.member, id, { 'os-extend': { new_size: 9 } }), 400, /must be available/)
    })

    test('what the disk of the host cannot take is neither made nor grown', async () => {
      const cloud = shared()
      const { db, config } = cloud.cloud
      const id = await makeVolume(cloud, { size: 2 })
      const facts = await db.read.selectFrom('hosts').select('diskGib').executeTakeFirstOrThrow()
      const setDisk = (diskGib: number) => db.transaction((tx) => tx.updateTable('hosts').set({ diskGib }).execute())
      const { gib } = await db.read
        .selectFrom('volumes')
        .select(({ fn }) => fn.sum<number>('sizeGib').as('gib'))
        .executeTakeFirstOrThrow()
      const room = Math.ceil(Number(gib) / config.diskRatio)
      try {
        await setDisk(room)
        const tooMuch = 2 + config.diskRatio
        assertFault(await actOn(cloud.member, id, { 'os-extend': { new_size: tooMuch } }), 409, /of disk free/)
        assert.deepEqual([(await showVolume(cloud, id)).size, (await showVolume(cloud, id)).status], [2, 'available'])
        const refused = await makeVolume(cloud, { size: tooMuch })
        assert.equal((await showVolume(cloud, refused)).status, 'error')
        assert.ok(!cloud.machine.volumes.has(refused))
      } finally {
        await setDisk(facts.diskGib)
      }
      await act(id, { 'os-extend': { new_size: 6 } }, 202)
    })

    test('flags and image metadata', async () => {
      const cloud = shared()
      const id = await makeVolume(cloud)
      await act(id, { 'os-set_bootable': { bootable: 'True' } }, 200)
      assert.equal((await showVolume(cloud, id)).bootable, 'true')
      await act(id, { 'os-set_bootable': { bootable: false } }, 200)
      assert.equal((await showVolume(cloud, id)).bootable, 'false')
      await act(id, { 'os-update_readonly_flag': { readonly: true } }, 202)
      assert.equal((await showVolume(cloud, id)).metadata.readonly, 'True')
      await act(id, { 'os-update_readonly_flag': { readonly: false } }, 202)
      assert.equal((await showVolume(cloud, id)).metadata.readonly, 'False')

      const set = await act(id, { 'os-set_image_metadata': { metadata: { kernel_id: 'k', os_type: 'linux' } } }, 200)
      assert.deepEqual(JSON.parse(set), { metadata: { kernel_id: 'k', os_type: 'linux' } })
      assert.equal((await showVolume(cloud, id)).volume_image_metadata.kernel_id, 'k')
      await act(id, { 'os-unset_image_metadata': { key: 'kernel_id' } }, 200)
      assert.deepEqual(JSON.parse(await act(id, { 'os-show_image_metadata': null }, 200)), {
        metadata: { os_type: 'linux' },
      })
      assertFault(
        await actOn(cloud.member, id, { 'os-unset_image_metadata': { key: 'none' } }),
        404,
        /no image metadata/,
      )
      for (const body of [
        { 'os-set_bootable': { bootable: 'perhaps' } },
        { 'os-set_bootable': null },
        { 'os-update_readonly_flag': {} },
        { 'os-set_image_metadata': { metadata: { a: 1 } } },
        { 'os-unset_image_metadata': {} },
      ]) {
        assertFault(await actOn(cloud.member, id, body), 400, /Invalid input for os-/, JSON.stringify(body))
      }
      for (const body of [{}, { a: 1, b: 2 }, { 'os-nothing': null }, { toString: {} }, null, []]) {
        assertFault(await actOn(cloud.member, id, body), 400, /./, JSON.stringify(body))
      }
    })

    test('a volume becomes an image', async () => {
      const cloud = shared()
      const id = await makeVolume(cloud, { size: 2, imageRef: TINY_IMAGE_ID })
      const wish = { image_name: 'copy', disk_format: 'raw', container_format: 'bare', visibility: 'shared' }
      const answer = JSON.parse(await act(id, { 'os-volume_upload_image': wish }, 202))['os-volume_upload_image']
      assert.deepEqual(
        [answer.id, answer.status, answer.image_name, answer.disk_format, answer.visibility, answer.protected],
        [id, 'uploading', 'copy', 'raw', 'shared', false],
      )
      assert.equal((await showVolume(cloud, id)).status, 'available')
      const image = (await cloud.member.get(`//image/v2/images/${answer.image_id}`)).json()
      assert.deepEqual(
        [image.status, image.min_disk, image.visibility, image.os_type, image.disk_format],
        ['active', 2, 'shared', 'linux', 'raw'],
      )
      // What a download gives is of the format that is told, and is what the checksum is of.
      const file = await cloud.member.get(`//image/v2/images/${answer.image_id}/file`)
      assert.match(file.body, /as raw$/m)
      assert.equal(createHash('md5').update(file.body).digest('hex'), image.checksum)
      assert.ok(cloud.machine.images.has(answer.image_id))
      for (const [change, status, message] of [
        [{ image_name: '' }, 400, /image_name/],
        [{ disk_format: 'vmdk' }, 400, /disk_format/],
        [{ container_format: 'ova' }, 400, /container_format/],
        [{ visibility: 'secret' }, 400, /visibility/],
        [{ visibility: 'public' }, 403, /Only an admin/],
      ] as const) {
        assertFault(
          await actOn(cloud.member, id, { 'os-volume_upload_image': { ...wish, ...change } }),
          status,
          message,
        )
      }
    })

    test('retype, revert and reimage', async () => {
      const cloud = shared()
      const id = await makeVolume(cloud)
      await act(id, { 'os-retype': { new_type: 'sata', migration_policy: 'never' } }, 202)
      assert.equal((await showVolume(cloud, id)).volume_type, 'sata')
      assertFault(await actOn(cloud.member, id, { 'os-retype': { new_type: 'sata' } }), 400, /already/)
      assertFault(await actOn(cloud.member, id, { 'os-retype': { new_type: 'nvme' } }), 404, /nvme/)
      assertFault(
        await actOn(cloud.member, id, { 'os-retype': { new_type: 'ssd', migration_policy: 'x' } }),
        400,
        /policy/,
      )

      const first = await makeSnapshot(cloud, id)
      cloud.clock.advance(1)
      const last = await makeSnapshot(cloud, id)
      assertFault(await actOn(cloud.member, id, { revert: { snapshot_id: first } }), 400, /not the latest/)
      assertFault(await actOn(cloud.member, id, { revert: { snapshot_id: last } }, '3.39'), 404, /came with 3\.40/)
      await act(id, { 'os-extend': { new_size: 2 } }, 202)
      await act(id, { revert: { snapshot_id: last } }, 202)
      assert.deepEqual(cloud.machine.volumes.get(id), { sizeGib: 2, source: { kind: 'snapshot', snapshotId: last } })
      assert.equal((await showVolume(cloud, id)).status, 'available')

      await act(id, { 'os-reimage': { image_id: TINY_IMAGE_ID } }, 202)
      const shown = await showVolume(cloud, id)
      assert.deepEqual([shown.bootable, shown.volume_image_metadata.image_id], ['true', TINY_IMAGE_ID])
      assert.deepEqual(cloud.machine.volumes.get(id)?.source, { kind: 'image', imageId: TINY_IMAGE_ID })
      assertFault(await actOn(cloud.member, id, { 'os-reimage': { image_id: id } }), 400, /could not be found/)
      assertFault(await actOn(cloud.member, id, { 'os-reimage': { image_id: TINY_IMAGE_ID } }, '3.67'), 404, /3\.68/)
    })

    test('what is stuck is put right by an admin', async () => {
      const cloud = shared()
      const id = await makeVolume(cloud)
      await setStatus(cloud, id, 'maintenance')
      assertFault(await cinder(cloud.member).delete(`/volumes/${id}`), 400, /it is maintenance/)
      const reset = (status: unknown) => actOn(cloud.admin, id, { 'os-reset_status': { status } })
      for (const status of ['error', 'available', 'attaching', 'creating', 'available']) {
        assert.equal((await reset(status)).statusCode, 202)
        assert.equal((await showVolume(cloud, id)).status, status)
      }
      assertFault(await reset('in-use'), 400, /attachments say available/)
      assertFault(await reset('happy'), 400, /status must be one of/)
      await setStatus(cloud, id, 'creating')
      assert.equal((await actOn(cloud.admin, id, { 'os-force_delete': {} })).statusCode, 202)
      await cloud.settled()
      assertFault(await cinder(cloud.member).get(`/volumes/${id}`), 404, /could not be found/)
      assert.equal(cloud.machine.volumes.has(id), false)
    })

    test('snapshots forbid a delete, or go with it', async () => {
      const cloud = shared()
      const service = cinder(cloud.member)
      const id = await makeVolume(cloud)
      const snapshotId = await makeSnapshot(cloud, id, { name: 's', metadata: { a: 'b' } })
      const shown = (await service.get(`/snapshots/${snapshotId}`)).json().snapshot
      assert.deepEqual(
        [shown.status, shown.size, shown.volume_id, shown.metadata, shown['os-extended-snapshot-attributes:progress']],
        ['available', 1, id, { a: 'b' }, '100%'],
      )
      const renamed = await service.put(`/snapshots/${snapshotId}`, { snapshot: { name: 'new', description: 'd' } })
      assert.deepEqual([renamed.json().snapshot.name, renamed.json().snapshot.description], ['new', 'd'])
      assertFault(await service.delete(`/volumes/${id}`), 400, /has 1 snapshots/)
      assert.equal((await service.delete(`/volumes/${id}?cascade=True`)).statusCode, 202)
      await cloud.settled()
      assertFault(await service.get(`/snapshots/${snapshotId}`), 404, /could not be found/)
      assert.equal(cloud.machine.snapshots.has(snapshotId), false)
      assert.equal(cloud.machine.volumes.has(id), false)

      const other = await makeVolume(cloud)
      const second = await makeSnapshot(cloud, other)
      const reset = { 'os-reset_status': { status: 'error' } }
      assertFault(await service.post(`/snapshots/${second}/action`, reset), 403, /Only an admin/)
      assert.equal((await cinder(cloud.admin).post(`/snapshots/${second}/action`, reset)).statusCode, 202)
      assertFault(await service.post('/volumes', { volume: { snapshot_id: second } }), 400, /it is error/)
      assert.equal((await service.delete(`/snapshots/${second}`)).statusCode, 202)
      await cloud.settled()
      assertFault(await service.get(`/snapshots/${second}`), 404, /could not be found/)
      await setStatus(cloud, other, 'error')
      assertFault(await service.post('/snapshots', { snapshot: { volume_id: other } }), 400, /it is error/)
      assertFault(await service.post('/snapshots', { snapshot: { volume_id: 'none' } }), 404, /could not be found/)
      assertFault(await service.post('/snapshots', { snapshot: {} }), 400, /volume_id/)
    })

    test('metadata of volumes and snapshots', async () => {
      const cloud = shared()
      const service = cinder(cloud.member)
      const id = await makeVolume(cloud, { metadata: { a: '1' } })
      for (const path of [`/volumes/${id}`, `/snapshots/${await makeSnapshot(cloud, id, { metadata: { a: '1' } })}`]) {
        const json = async (answer: ReturnType<typeof service.get>) => (await answer).json()
        assert.deepEqual(await json(service.get(`${path}/metadata`)), { metadata: { a: '1' } })
        const more = { metadata: { b: '2' } }
        assert.deepEqual(await json(service.post(`${path}/metadata`, more)), { metadata: { a: '1', b: '2' } })
        assert.deepEqual(await json(service.put(`${path}/metadata/c`, { meta: { c: '3' } })), { meta: { c: '3' } })
        assert.deepEqual(await json(service.get(`${path}/metadata/c`)), { meta: { c: '3' } })
        assert.equal((await service.delete(`${path}/metadata/a`)).statusCode, 200)
        assert.deepEqual(await json(service.get(`${path}/metadata`)), { metadata: { b: '2', c: '3' } })
        assert.deepEqual(await json(service.put(`${path}/metadata`, { metadata: { d: '4' } })), {
          metadata: { d: '4' },
        })
        for (const key of ['a', 'constructor']) {
          assertFault(await service.get(`${path}/metadata/${key}`), 404, /no metadata item/)
          assertFault(await service.delete(`${path}/metadata/${key}`), 404, /no metadata item/)
        }
        assertFault(await service.put(`${path}/metadata/x`, { meta: { y: '1' } }), 400, /the path names/)
        assertFault(await service.put(`${path}/metadata/x`, { meta: { x: 1 } }), 400, /meta/)
        const many = Object.fromEntries(Array.from({ length: 129 }, (_, index) => [`key${index}`, 'x']))
        assertOverQuota(await service.post(`${path}/metadata`, { metadata: many }), /metadata_items/)
      }
    })

    test('a volume changes hands, with its snapshots', async () => {
      const cloud = shared()
      const [giver, taker] = [cinder(cloud.member, '3.57'), await cloud.stranger()]
      const id = await makeVolume(cloud)
      const snapshotId = await makeSnapshot(cloud, id)
      const offered = await giver.post('/volume-transfers', { transfer: { volume_id: id, name: 'gift' } })
      assert.equal(offered.statusCode, 202, offered.body)
      const { transfer } = offered.json()
      assert.equal((await showVolume(cloud, id)).status, 'awaiting-transfer')
      assertFault(await giver.post('/os-volume-transfer', { transfer: { volume_id: id } }), 400, /must be available/)
      assertFault(await giver.delete(`/volumes/${id}`), 400, /awaiting-transfer/)
      const listed = (await giver.get('/volume-transfers/detail')).json().transfers
      assert.deepEqual([listed.length, listed[0].auth_key, listed[0].name], [1, undefined, 'gift'])
      assert.equal((await giver.get(`/volume-transfers/${transfer.id}`)).json().transfer.accepted, false)
      const path = `/volume-transfers/${transfer.id}/accept`
      const service = cinder(taker, '3.55')
      assertFault(await service.post(path, { accept: { auth_key: 'guess' } }), 400, /Invalid auth key/)
      const limit = { quota_set: { volumes: 0 } }
      await cinder(cloud.admin).put(`/os-quota-sets/${taker.projectId}`, limit)
      assertOverQuota(await service.post(path, { accept: { auth_key: transfer.auth_key } }), /volumes/)
      await cinder(cloud.admin).delete(`/os-quota-sets/${taker.projectId}`)
      const taken = await service.post(path, { accept: { auth_key: transfer.auth_key } })
      assert.equal(taken.statusCode, 202, taken.body)
      assert.equal(taken.json().transfer.volume_id, id)
      assertFault(await giver.get(`/volumes/${id}`), 404, /could not be found/)
      assert.equal((await service.get(`/volumes/${id}`)).json().volume.status, 'available')
      assert.equal((await service.get(`/snapshots/${snapshotId}`)).statusCode, 200)
      assertFault(await service.post(path, { accept: { auth_key: transfer.auth_key } }), 404, /could not be found/)
    })
  })
}
