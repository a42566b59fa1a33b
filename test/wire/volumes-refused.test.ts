/** What the volume service refuses, and that it then changes nothing. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { TINY_IMAGE_ID } from '../../src/images/image-store.ts'
import { assertFault } from '../support/assert-fault.ts'
import { countRows } from '../support/count-rows.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { type Client, DATABASES } from '../support/test-cloud.ts'
import { actOn, assertOverQuota, cinder, makeSnapshot, makeVolume } from '../support/volume-requests.ts'

const NOBODYS = '0b6c3a3e-5d0e-4f0e-8f3a-000000000000'

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database })

    test('wishes for volumes that cannot be', async () => {
      const cloud = shared()
      const large = await makeVolume(cloud, { size: 3 })
      const snapshotId = await makeSnapshot(cloud, large)
      const service = cinder(cloud.member, '3.71')
      const before = await countRows(cloud)
      for (const [volume, status, message] of [
        [{}, 400, /size/],
        [{ size: null }, 400, /size/],
        [{ size: 0 }, 400, /size/],
        [{ size: -1 }, 400, /size/],
        [{ size: 1.5 }, 400, /size/],
        [{ size: '1.5' }, 400, /size/],
        [{ size: '' }, 400, /size/],
        [{ size: '0' }, 400, /size/],
        [{ size: 'one' }, 400, /size/],
        [{ size: true }, 400, /size/],
        [{ size: [1] }, 400, /size/],
        [{ size: 1e12 }, 400, /size/],
        [{ size: 2_147_483_648 }, 400, /size/],
        [{ size: 1, name: 5 }, 400, /name/],
        [{ size: 1, name: 'x'.repeat(256) }, 400, /name/],
        [{ size: 1, description: {} }, 400, /description/],
        [{ size: 1, metadata: [] }, 400, /metadata/],
        [{ size: 1, metadata: { a: 1 } }, 400, /metadata/],
        [{ size: 1, metadata: { '': 'x' } }, 400, /metadata/],
        [{ size: 1, metadata: { a: 'x'.repeat(256) } }, 400, /metadata/],
        [{ size: 1, volume_type: 'nvme' }, 404, /nvme could not be found/],
        [{ size: 1, availability_zone: 'moon' }, 400, /'moon' is invalid/],
        [{ size: 1, imageRef: NOBODYS }, 400, /could not be found/],
        [{ size: 1, snapshot_id: NOBODYS }, 404, /could not be found/],
        [{ size: 1, source_volid: NOBODYS }, 404, /could not be found/],
        [{ imageRef: TINY_IMAGE_ID }, 400, /size/],
        [{ size: 2, snapshot_id: snapshotId }, 400, /smaller than its snapshot: 2 GiB < 3 GiB/],
        [{ size: 2, source_volid: large }, 400, /smaller than its source volume/],
        [{ size: 3, source_volid: large, snapshot_id: snapshotId }, 400, /one source/],
        [{ size: 1, consistencygroup_id: NOBODYS }, 400, /consistencygroup_id/],
        [{ size: 1, multiattach: true }, 400, /one writer/],
        [{ size: 1, colour: 'blue' }, 400, /Additional properties .*colour/],
      ] as const) {
        assertFault(await service.post('/volumes', { volume }), status, message, JSON.stringify(volume))
      }
      for (const body of [
        undefined,
        null,
        [],
        'x',
        1,
        {},
        { volume: null },
        { volume: [] },
        { volumes: [{ size: 1 }] },
      ]) {
        assertFault(await service.post('/volumes', body), 400, /./, JSON.stringify(body))
      }
      assertOverQuota(await service.post('/volumes', { volume: { size: 2_147_483_647 } }), /gigabytes/)
      assert.deepEqual(await countRows(cloud), before)
      const lenient = await cinder(cloud.member, '3.52').post('/volumes', { volume: { size: 1, colour: 'blue' } })
      assert.equal(lenient.statusCode, 202, lenient.body)
      await cloud.settled()
    })

    test('an image says how large a volume must be, and must be there to be used', async () => {
      const cloud = shared()
      const { db } = cloud.cloud
      const tiny = await db.read
        .selectFrom('images')
        .selectAll()
        .where('id', '=', TINY_IMAGE_ID)
        .executeTakeFirstOrThrow()
      const add = async (change: object) => {
        const id = crypto.randomUUID()
        await db.transaction((tx) =>
          tx
            .insertInto('images')
            .values({ ...tiny, ...change, id })
            .execute(),
        )
        return id
      }
      const ask = async (change: object, size = 1) =>
        cinder(cloud.member).post('/volumes', { volume: { size, imageRef: await add(change) } })
      assertFault(await ask({ minDiskGib: 2 }), 400, /smaller than its image: 1 GiB < 2 GiB/)
      assertFault(await ask({ virtualSizeBytes: 2 ** 30 + 1 }), 400, /1 GiB < 2 GiB/)
      assertFault(await ask({ status: 'queued' }), 400, /is not active/)
      assertFault(await ask({ diskFormat: 'aki' }), 400, /not a disk/)
      assertFault(await ask({ visibility: 'private', projectId: cloud.admin.projectId }), 400, /could not be found/)
      assert.equal((await ask({ virtualSizeBytes: 2 ** 30 + 1 }, 2)).statusCode, 202)
      await cloud.settled()
    })

    test("another project's things are not there, and a reader changes nothing", async () => {
      const cloud = shared()
      const id = await makeVolume(cloud, { metadata: { a: 'b' } })
      const snapshotId = await makeSnapshot(cloud, id)
      const offer = (await cinder(cloud.member).post('/os-volume-transfer', { transfer: { volume_id: id } })).json()
      const reader = await cloud.stranger('reader')
      const stranger = await cloud.stranger()
      const before = await countRows(cloud)
      const requests: [string, 'get' | 'post' | 'put' | 'delete', unknown?][] = [
        [`/volumes/${id}`, 'get'],
        [`/volumes/${id}`, 'put', { volume: { name: 'mine' } }],
        [`/volumes/${id}`, 'delete'],
        [`/volumes/${id}/action`, 'post', { 'os-extend': { new_size: 9 } }],
        [`/volumes/${id}/metadata`, 'get'],
        [`/volumes/${id}/metadata`, 'post', { metadata: { c: 'd' } }],
        [`/volumes/${id}/metadata`, 'put', { metadata: {} }],
        [`/volumes/${id}/metadata/a`, 'get'],
        [`/volumes/${id}/metadata/a`, 'put', { meta: { a: 'c' } }],
        [`/volumes/${id}/metadata/a`, 'delete'],
        [`/snapshots/${snapshotId}`, 'get'],
        [`/snapshots/${snapshotId}`, 'put', { snapshot: { name: 'mine' } }],
        [`/snapshots/${snapshotId}`, 'delete'],
        [`/snapshots/${snapshotId}/metadata`, 'get'],
        [`/snapshots/${snapshotId}/metadata`, 'put', { metadata: {} }],
        ['/snapshots', 'post', { snapshot: { volume_id: id } }],
        ['/volumes', 'post', { volume: { source_volid: id } }],
        ['/volumes', 'post', { volume: { snapshot_id: snapshotId } }],
        [`/os-volume-transfer/${offer.transfer.id}`, 'get'],
        [`/os-volume-transfer/${offer.transfer.id}`, 'delete'],
        ['/os-volume-transfer', 'post', { transfer: { volume_id: id } }],
      ]
      for (const [path, method, body] of requests) {
        const what = `${method} ${path}`
        assertFault(await cinder(stranger, '3.71')[method](path, body), 404, /could not be found/, what)
        const asReader = await cinder(reader, '3.71')[method](path, body)
        if (method === 'get') assertFault(asReader, 404, /could not be found/, what)
        else assertFault(asReader, 403, /needs member/, what)
      }
      for (const [path, method, body] of [
        ['/types', 'post', { volume_type: { name: 'x' } }],
        ['/os-services', 'get'],
        [`/os-quota-sets/${stranger.projectId}`, 'put', { quota_set: { volumes: 1 } }],
        [`/os-quota-sets/${stranger.projectId}`, 'delete'],
      ] as [string, 'get' | 'post' | 'put' | 'delete', unknown?][]) {
        assertFault(await cinder(stranger)[method](path, body), 403, /needs admin/, path)
      }
      assertFault(await cinder(stranger).get(`/os-quota-sets/${cloud.member.projectId}`), 403, /Only an admin/)
      assertFault(await cinder(stranger, '3.23').delete(`/volumes/${id}?force=true`), 403, /Only an admin/)
      for (const [name, body] of [
        ['os-reset_status', { status: 'error' }],
        ['os-force_delete', null],
      ] as const) {
        assertFault(await actOn(cloud.member, id, { [name]: body }), 403, /needs admin/)
      }
      assert.deepEqual(await countRows(cloud), before)
      assert.equal((await cinder(cloud.member).delete(`/os-volume-transfer/${offer.transfer.id}`)).statusCode, 202)
    })

    test('whatever the body is, the service is not to blame', async () => {
      const cloud = shared()
      const id = await makeVolume(cloud)
      const snapshotId = await makeSnapshot(cloud, id)
      const value = fc.oneof(
        fc.jsonValue({ maxDepth: 2 }),
        fc.constantFrom(0, -1, 1.5, '1', 'true', 'x'.repeat(300), id, snapshotId, [], {}, null),
        // What cannot be made a text.
        fc.constantFrom({ toString: 0 }, [{ toString: 0, valueOf: 0 }]),
      )
      const withMembers = (...members: string[]) =>
        fc.dictionary(fc.constantFrom(...members, 'toString', 'x'), value, { maxKeys: 5 })
      const volumeBody = withMembers(
        'size',
        'name',
        'metadata',
        'imageRef',
        'snapshot_id',
        'source_volid',
        'multiattach',
      )
      const actions = [
        ...[
          'os-extend',
          'os-set_bootable',
          'os-update_readonly_flag',
          'os-set_image_metadata',
          'os-unset_image_metadata',
        ],
        ...['os-show_image_metadata', 'os-retype', 'os-reset_status', 'revert', 'os-reimage', 'os-volume_upload_image'],
      ]
      const actionBody = withMembers(
        'new_size',
        'bootable',
        'readonly',
        'metadata',
        'key',
        'new_type',
        'status',
        'image_id',
      )
      const requests: [string, 'post' | 'put', fc.Arbitrary<unknown>][] = [
        ['/volumes', 'post', fc.record({ volume: volumeBody })],
        [`/volumes/${id}`, 'put', fc.record({ volume: withMembers('name', 'description', 'metadata') })],
        ['/snapshots', 'post', fc.record({ snapshot: withMembers('volume_id', 'name', 'force', 'metadata') })],
        [`/volumes/${id}/metadata`, 'post', fc.record({ metadata: fc.oneof(value, withMembers('a')) })],
        [`/volumes/${id}/metadata/a`, 'put', fc.record({ meta: fc.oneof(value, withMembers('a')) })],
        [`/volumes/${id}/action`, 'post', fc.dictionary(fc.constantFrom(...actions), actionBody, { maxKeys: 2 })],
        [`/snapshots/${snapshotId}/action`, 'post', fc.record({ 'os-reset_status': value })],
        ['/types', 'post', fc.record({ volume_type: withMembers('name', 'extra_specs', 'is_public', 'description') })],
        ['/os-volume-transfer', 'post', fc.record({ transfer: withMembers('volume_id', 'name') })],
        [
          `/os-quota-sets/${cloud.admin.projectId}`,
          'put',
          fc.record({ quota_set: withMembers('volumes', 'gigabytes') }),
        ],
      ]
      const client: Client = cloud.admin
      for (const [path, method, body] of requests) {
        await fc.assert(
          fc.asyncProperty(fc.oneof(body, value), async (payload) => {
            const answer = await cinder(client, '3.71')[method](path, payload)
            assert.ok(answer.statusCode < 500, `${path} ${JSON.stringify(payload)} ${answer.body}`)
          }),
          { numRuns: 25 },
        )
      }
      await cloud.settled()
    })
  })
}
