/** What users write of images: members, properties, tags, who sees them; and what they may not. */
import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { TINY_IMAGE_ID } from '../../src/images/image-store.ts'
import {
  addActive,
  assertImageFault,
  createImage,
  JSON_PLEASE,
  PATCH,
  patch,
  RAW,
  show,
  uploadsOf,
} from '../support/image-requests.ts'
import { assertSameShape } from '../support/same-shape.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { type Client, DATABASES } from '../support/test-cloud.ts'

const replace = (path: string, value: unknown) => ({ op: 'replace', path, value })
const add = (path: string, value: unknown) => ({ op: 'add', path, value })
const remove = (path: string) => ({ op: 'remove', path })

const idsOf = async (client: Client, query = ''): Promise<string[]> =>
  (await client.get(`//image/v2/images?limit=1000${query}`)).json().images.map(({ id }: { id: string }) => id)

/** As Glance's documentation shows them. */
const SAMPLE_CREATE = {
  container_format: 'bare',
  disk_format: 'raw',
  name: 'Ubuntu',
  id: 'b2173dd3-7ad6-4362-baa6-a68bce3565cb',
}
const SAMPLE_PATCH = [replace('/name', 'Fedora 17'), replace('/tags', ['fedora', 'beefy'])]
const SAMPLE_MEMBER = {
  created_at: '2013-09-20T19:22:19Z',
  image_id: 'a96be11e-8536-4910-92cb-de50aa19dfe6',
  member_id: '8989447062e04a818baf9e073fd04fa7',
  schema: '/v2/schemas/member',
  status: 'pending',
  updated_at: '2013-09-20T19:25:31Z',
}

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database, config: { quotaImages: -1 } })

    test('the samples of the documentation are taken', async () => {
      const cloud = shared()
      const created = await cloud.member.post('//image/v2/images', SAMPLE_CREATE)
      assert.equal(created.statusCode, 201)
      assert.deepEqual(created.json(), {
        ...SAMPLE_CREATE,
        ...{
          status: 'queued',
          visibility: 'shared',
          owner: cloud.member.projectId,
          protected: false,
          os_hidden: false,
        },
        ...{ tags: [], size: null, virtual_size: null, checksum: null, os_hash_algo: null, os_hash_value: null },
        ...{ min_disk: 0, min_ram: 0, created_at: '2026-11-24T12:00:00Z', updated_at: '2026-11-24T12:00:00Z' },
        self: `/v2/images/${SAMPLE_CREATE.id}`,
        file: `/v2/images/${SAMPLE_CREATE.id}/file`,
        schema: '/v2/schemas/image',
      })
      assert.match(String(created.headers.location), /^http:\/\/.*\/v2\/images\/b2173dd3-7ad6-4362-baa6-a68bce3565cb$/)
      assert.equal(created.headers['openstack-image-import-methods'], 'glance-direct')
      assertImageFault(await cloud.member.post('//v2/images', SAMPLE_CREATE, JSON_PLEASE), 409)
      const upper = { ...SAMPLE_CREATE, id: SAMPLE_CREATE.id.toUpperCase() }
      assertImageFault(await cloud.member.post('//v2/images', upper, JSON_PLEASE), 409)
      const patched = await patch(cloud.member, SAMPLE_CREATE.id, SAMPLE_PATCH)
      assert.deepEqual([patched.json().name, patched.json().tags], ['Fedora 17', ['fedora', 'beefy']])
      const members = `//image/v2/images/${SAMPLE_CREATE.id}/members`
      const member = await cloud.member.post(members, { member: '8989447062e04a818baf9e073fd04fa7' })
      assertSameShape(member.json(), SAMPLE_MEMBER)
      assertSameShape((await cloud.member.get(members)).json(), { members: [SAMPLE_MEMBER], schema: '' })
      assert.equal((await cloud.member.delete(`//v2/images/${SAMPLE_CREATE.id}`)).statusCode, 204)
    })

    test('an image is made with all its members, and free properties beside them', async () => {
      const cloud = shared()
      const wish = {
        ...{ name: 'all', ...RAW, visibility: 'private', min_disk: 3, min_ram: 64, protected: true, os_hidden: true },
        ...{ tags: ['a', 'b', 'a'], os_distro: 'debian', hw_disk_bus: 'scsi', 'odd/name~': 'x', kernel_id: null },
      }
      const id = await createImage(cloud.member, wish)
      const { kernel_id: _, ...kept } = wish
      const shown = await show(cloud.member, id)
      for (const [name, value] of Object.entries({ ...kept, tags: ['a', 'b'] }))
        assert.deepEqual(shown[name], value, name)
      assert.ok(!('kernel_id' in shown))
      assert.ok(!(await idsOf(cloud.member)).includes(id))
      assert.ok((await idsOf(cloud.member, '&os_hidden=true')).includes(id))
      assert.deepEqual(await idsOf(cloud.member, '&os_hidden=true&os_distro=debian&tag=b&protected=true'), [id])
    })

    test('what cannot be is refused, and writes nothing', async () => {
      const cloud = shared()
      const before = (await idsOf(cloud.member)).length
      const refused: [number, object][] = [
        ...['id', 'name', 'min_disk', 'min_ram', 'tags', 'protected', 'os_hidden', 'visibility', 'disk_format'].map(
          (name): [number, object] => [400, { [name]: { a: 1 } }],
        ),
        [400, { id: 'not-a-uuid' }],
        [400, { id: '../../etc/passwd' }],
        [400, { name: 'x'.repeat(256) }],
        [400, { min_disk: -1 }],
        [400, { min_ram: 1.5 }],
        [400, { min_disk: 2 ** 31 }],
        [400, { tags: ['x'.repeat(256)] }],
        [400, { tags: [1] }],
        [400, { disk_format: 'ploop' }],
        [400, { container_format: 'docker' }],
        [400, { disk_format: 'aki', container_format: 'bare' }],
        [400, { free: 1 }],
        [400, { free: null }],
        [400, { free: 'x'.repeat(65_536) }],
        [400, { ['x'.repeat(256)]: 'x' }],
        [400, { hw_firmware_type: 'coreboot' }],
        [400, { hw_disk_bus: 'xen' }],
        [400, { hw_vif_model: 'ne2k' }],
        [400, { hw_machine_type: 'sparc' }],
        [400, { hw_rng_model: 'dice' }],
        [400, { hw_qemu_guest_agent: 'perhaps' }],
        [400, { kernel_id: 'vmlinuz' }],
        ...['status', 'checksum', 'size', 'virtual_size', 'created_at', 'updated_at', 'os_hash_value', 'self'].map(
          (name): [number, object] => [403, { [name]: 'x' }],
        ),
        [403, { locations: [] }],
        [403, { os_glance_importing: 'x' }],
        [403, { novella_refusal: 'x' }],
        [403, { owner: 'somebody' }],
        [403, { visibility: 'public' }],
        [413, Object.fromEntries(Array.from({ length: 129 }, (_, n) => [`p${n}`, 'x']))],
        [413, { tags: Array.from({ length: 129 }, (_, n) => `t${n}`) }],
      ]
      for (const [status, body] of refused) {
        const what = JSON.stringify(body).slice(0, 80)
        assertImageFault(await cloud.member.post('//v2/images', { ...RAW, ...body }, JSON_PLEASE), status, /./, what)
      }
      for (const body of [[], 'x', 1]) {
        const answer = await cloud.member.request({
          ...{ method: 'POST', url: '//v2/images', payload: JSON.stringify(body) },
          headers: { ...JSON_PLEASE, 'content-type': 'application/json' },
        })
        assertImageFault(answer, 400)
      }
      assertImageFault(await (await cloud.stranger('reader')).post('//v2/images', RAW, JSON_PLEASE), 403)
      assert.equal((await idsOf(cloud.member)).length, before)
    })

    test('a patch changes all that it names, or nothing', async () => {
      const cloud = shared()
      const id = await createImage(cloud.member, { os_distro: 'debian', 'a/b~c': '1' })
      const before = await show(cloud.member, id)
      const refused: [number, unknown[]][] = [
        [409, [replace('/none', 'x')]],
        [409, [remove('/none')]],
        [403, [remove('/name')]],
        [403, [replace('/status', 'active')]],
        [403, [add('/size', 5)]],
        [403, [replace('/id', randomUUID())]],
        [403, [replace('/visibility', 'public')]],
        [403, [replace('/owner', 'x')]],
        [400, [replace('/name', 5)]],
        [400, [replace('/tags/0', 'x')]],
        [400, [add('/hw_disk_bus', 'floppy')]],
        [400, [replace('name', 'x')]],
        [400, [add('/', 'x')]],
        [400, [add('/__proto__', 'x')]],
        [400, [add('/a~2', 'x')]],
        [400, [{ op: 'add', path: '/x' }]],
        [400, [{ op: 'move', from: '/name', path: '/x' }]],
        [400, [{ op: 'add', value: 'x' }]],
        [400, [null]],
        [400, ['x']],
        [400, [[]]],
        [413, Array.from({ length: 130 }, (_, n) => add(`/p${n}`, 'x'))],
      ]
      for (const [status, changes] of refused) {
        const what = JSON.stringify(changes).slice(0, 80)
        const good = [replace('/min_ram', 77), add('/kept', 'no')]
        assertImageFault(await patch(cloud.member, id, [...good, ...changes]), status, /./, what)
      }
      assertImageFault(await patch(cloud.member, id, { op: 'add' }), 400)
      assert.deepEqual(await show(cloud.member, id), before)

      cloud.clock.advance(5_000)
      const patched = await patch(cloud.member, id, [
        replace('/a~1b~0c', '2'),
        remove('/os_distro'),
        add('/os_version', '12'),
        replace('/disk_format', 'qcow2'),
        replace('/visibility', 'community'),
        replace('/name', null),
        add('/protected', true),
      ])
      assert.equal(patched.statusCode, 200)
      const { os_distro: _, ...rest } = before
      assert.deepEqual(patched.json(), {
        ...rest,
        ...{
          'a/b~c': '2',
          os_version: '12',
          disk_format: 'qcow2',
          visibility: 'community',
          name: null,
          protected: true,
        },
        updated_at: '2026-11-24T12:00:05Z',
      })
      assertImageFault(await cloud.member.delete(`//v2/images/${id}`).then(asJson(cloud.member, id)), 403, /protected/)
    })

    const asJson = (client: Client, id: string) => () =>
      client.request({ method: 'DELETE', url: `//v2/images/${id}`, headers: JSON_PLEASE })

    test('the older form of a patch is taken, and other types are not', async () => {
      const cloud = shared()
      const id = await createImage(cloud.member, { free: 'x' })
      const older = { 'content-type': 'application/openstack-images-v2.0-json-patch' }
      const changes = [{ replace: '/name', value: 'older' }, { add: '/more', value: 'y' }, { remove: '/free' }]
      const { name, more, free } = (await patch(cloud.member, id, changes, older)).json()
      assert.deepEqual([name, more, free], ['older', 'y', undefined])
      assertImageFault(await patch(cloud.member, id, [{ replace: '/a', add: '/b', value: '' }], older), 400)
      for (const type of ['application/json', 'application/json-patch+json', 'text/plain']) {
        const answer = await patch(cloud.member, id, [], { 'content-type': type })
        assertImageFault(answer, 415)
        assert.match(String(answer.headers['accept-patch']), /^application\/openstack-images-v2\.1-json-patch,/)
      }
    })

    test('the formats of an image that has bytes stay', async () => {
      const cloud = shared()
      const id = await addActive(cloud.member, randomBytes(600))
      assertImageFault(await patch(cloud.member, id, [replace('/disk_format', 'qcow2')]), 403)
      assert.equal((await patch(cloud.member, id, [replace('/disk_format', 'raw')])).statusCode, 200)
    })

    test('a deleted image is gone, with its bytes here and on the host', async () => {
      const cloud = shared()
      const id = await addActive(cloud.member, randomBytes(700))
      assert.ok(cloud.machine.images.has(id))
      assert.equal((await cloud.member.delete(`//image/v2/images/${id}`)).statusCode, 204)
      await cloud.settled()
      assert.equal((await cloud.member.get(`//image/v2/images/${id}`)).statusCode, 404)
      assert.deepEqual(uploadsOf(cloud, id), [])
      assert.ok(!cloud.machine.images.has(id))
      assert.equal((await cloud.member.delete(`//image/v2/images/${id}`)).statusCode, 404)
      await patch(cloud.admin, TINY_IMAGE_ID, [replace('/protected', false)])
      const tiny = await cloud.admin.request({
        method: 'DELETE',
        url: `//v2/images/${TINY_IMAGE_ID}`,
        headers: JSON_PLEASE,
      })
      assertImageFault(tiny, 403, /built-in/)
    })

    test('versions are told without a token, where clients look for them', async () => {
      const cloud = shared()
      for (const [url, status] of [
        ['/image', 300],
        ['/image/', 300],
        ['/image/versions', 200],
      ] as const) {
        const answer = await cloud.app.inject({ url, headers: { host: 'cloud.example:8774' } })
        assert.equal(answer.statusCode, status)
        const [first, ...older] = answer.json().versions
        const links = [{ rel: 'self', href: 'http://cloud.example:8774/image/v2/' }]
        assert.deepEqual(first, { id: 'v2.17', status: 'CURRENT', links })
        assert.equal(older.length, 17)
      }
    })

    test('schemas name what may be written, and stores there are none', async () => {
      const cloud = shared()
      for (const name of ['image', 'images', 'member', 'members']) {
        const schema = (await cloud.member.get(`//image/v2/schemas/${name}`)).json()
        assert.equal(schema.name, name)
        assert.ok(schema.properties)
      }
      const { disk_format } = (await cloud.member.get('//v2/schemas/image')).json().properties
      assert.deepEqual(disk_format.type, ['string', 'null'])
      assert.ok(disk_format.enum.includes('qcow2') && !disk_format.enum.includes('ploop'))
      assert.equal((await cloud.member.get('//image/v2/info/stores')).statusCode, 404)
    })

    test('whatever is written is taken or refused, never failed', async () => {
      const cloud = shared()
      const id = await createImage(cloud.member)
      const name = fc.constantFrom(
        'name',
        'tags',
        'visibility',
        'min_disk',
        'protected',
        'owner',
        'kernel_id',
        'x',
        'status',
        '~0',
        'toString',
        'id',
      )
      const value = fc.oneof(
        fc.jsonValue({ maxDepth: 2 }),
        fc.constantFrom('public', 'shared', '\ud800', 'raw', ['a', 'a']),
        // What cannot be made a text.
        fc.constantFrom({ toString: 0 }, [{ toString: 0, valueOf: 0 }]),
      )
      const change = fc.record({
        op: fc.constantFrom('add', 'replace', 'remove', 'x'),
        path: name.map((one) => `/${one}`),
        value,
      })
      const send = (options: { method: 'POST' | 'PATCH'; url: string; payload: unknown; headers: object }) =>
        cloud.member.request({
          ...options,
          payload: JSON.stringify(options.payload),
          headers: { ...JSON_PLEASE, ...options.headers },
        })
      await fc.assert(
        fc.asyncProperty(
          fc.dictionary(name, value, { maxKeys: 5 }),
          fc.array(change, { maxLength: 4 }),
          async (body, changes) => {
            const created = await send({
              method: 'POST',
              url: '//v2/images',
              payload: body,
              headers: { 'content-type': 'application/json' },
            })
            assert.ok(created.statusCode < 500, created.body)
            const patched = await send({ method: 'PATCH', url: `//v2/images/${id}`, payload: changes, headers: PATCH })
            assert.ok(patched.statusCode < 500, patched.body)
          },
        ),
        { numRuns: 150 },
      )
    })
  })
}
