import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Ajv } from 'ajv'
import fc from 'fast-check'
import type { ImagesTable } from '../../src/db/volume-schema.ts'
import { seedTinyImage, TINY_IMAGE_ID } from '../../src/images/image-store.ts'
import { DATABASES, type TestCloud, testCloud } from '../support/test-cloud.ts'

const JSON_PLEASE = { accept: 'application/json' }

/** Adds an image, public and a minute younger than the one before, unless told otherwise. */
async function addImage(cloud: TestCloud, id: string, change: Partial<ImagesTable> = {}): Promise<void> {
  const { db, clock } = cloud.cloud
  const { count } = await db.read
    .selectFrom('images')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .executeTakeFirstOrThrow()
  const at = clock.now() + Number(count) * 60_000
  const form = {
    diskFormat: 'qcow2',
    containerFormat: 'bare',
    minDiskGib: 0,
    minRamMib: 0,
    isHidden: 0,
    verdict: null,
    isProtected: 0,
  } as const
  const data = { sizeBytes: 10, virtualSizeBytes: 20, checksum: 'c', hashAlgorithm: 'sha512', hashValue: 'h' }
  const row = {
    id,
    name: id,
    projectId: null,
    status: 'active',
    visibility: 'public',
    tags: '[]',
    properties: '{}',
  } as const
  await db.transaction((tx) =>
    tx
      .insertInto('images')
      .values({ ...row, ...form, ...data, createdAt: at, updatedAt: at, ...change })
      .execute(),
  )
}

const namesOf = (answer: { json(): { images: { name: string }[] } }) => answer.json().images.map(({ name }) => name)

for (const database of DATABASES) {
  test(`${database}: the built-in image is shown with all that Glance shows, at both addresses`, async () => {
    await using cloud = await testCloud({ database })
    const facts = { sizeBytes: 60_000_000, virtualSizeBytes: 2 ** 33, md5: 'ab'.repeat(16), sha512: 'cd'.repeat(64) }
    await cloud.cloud.db.transaction((tx) => seedTinyImage(tx, facts, cloud.clock.now() + 1_500))
    const expected = {
      id: TINY_IMAGE_ID,
      name: 'tiny',
      status: 'active',
      visibility: 'public',
      owner: null,
      protected: true,
      os_hidden: false,
      tags: [],
      size: 60_000_000,
      virtual_size: 2 ** 33,
      checksum: facts.md5,
      os_hash_algo: 'sha512',
      os_hash_value: facts.sha512,
      disk_format: 'qcow2',
      container_format: 'bare',
      min_disk: 1,
      min_ram: 96,
      created_at: '2026-11-24T11:59:59Z',
      updated_at: '2026-11-24T12:00:01Z',
      self: `/v2/images/${TINY_IMAGE_ID}`,
      file: `/v2/images/${TINY_IMAGE_ID}/file`,
      schema: '/v2/schemas/image',
      os_admin_user: 'root',
      login_user: 'root',
      hw_qemu_guest_agent: 'yes',
      os_type: 'linux',
    }
    for (const path of ['//v2/images', '//image/v2/images']) {
      const one = await cloud.member.get(`${path}/${TINY_IMAGE_ID}`)
      assert.equal(one.statusCode, 200)
      assert.deepEqual(one.json(), expected)
      const list = await cloud.member.get(path)
      assert.equal(list.statusCode, 200)
      assert.deepEqual(list.json(), { images: [expected], first: '/v2/images', schema: '/v2/schemas/images' })
    }
  })

  test(`${database}: the schemas that answers point to fit the answers`, async () => {
    await using cloud = await testCloud({ database })
    const ajv = new Ajv({ strict: false })
    for (const root of ['/', '//image']) {
      const list = (await cloud.member.get(`${root}/v2/images`)).json()
      const [image] = list.images
      for (const [answer, properties] of [
        [image, 22],
        [list, 4],
      ] as const) {
        const described = await cloud.member.get(`${root}${answer.schema}`)
        assert.equal(described.statusCode, 200)
        const { name, links, ...schema } = described.json()
        assert.equal(`/v2/schemas/${name}`, answer.schema)
        assert.equal(links.length, 3)
        assert.equal(Object.keys(schema.properties).length, properties)
        const isValid = ajv.compile({ type: 'object', ...schema })
        assert.ok(!isValid({ ...answer, schema: 7 }))
        assert.ok(isValid(answer), JSON.stringify(isValid.errors))
      }
    }
  })

  test(`${database}: seeding again follows a new build and is otherwise nothing`, async () => {
    await using cloud = await testCloud({ database })
    const { db, clock } = cloud.cloud
    const row = async () => ({
      ...(await db.read.selectFrom('images').selectAll().where('id', '=', TINY_IMAGE_ID).executeTakeFirst()),
    })
    const facts = { sizeBytes: 1, virtualSizeBytes: 2, md5: 'm', sha512: 's' }
    const before = await row()
    const updatedAt = clock.now() + 1_000
    await db.transaction((tx) => seedTinyImage(tx, facts, updatedAt))
    const changed = await row()
    assert.deepEqual(changed, {
      ...before,
      ...{ sizeBytes: 1, virtualSizeBytes: 2, checksum: 'm', hashValue: 's', updatedAt },
    })
    await db.transaction((tx) => seedTinyImage(tx, facts, clock.now() + 9_000))
    assert.deepEqual(await row(), changed)
  })

  test(`${database}: a private image is there for its project and for admins only`, async () => {
    await using cloud = await testCloud({ database })
    const { projectId } = cloud.member
    await addImage(cloud, 'mine', { visibility: 'private', projectId })
    const stranger = await cloud.stranger()
    for (const [who, sees] of [
      [cloud.member, true],
      [cloud.admin, true],
      [stranger, false],
    ] as const) {
      assert.equal((await who.get('//v2/images/mine')).statusCode, sees ? 200 : 404)
      assert.equal(namesOf(await who.get('//v2/images')).includes('mine'), sees)
      assert.equal(namesOf(await who.get('//v2/images?id=in:mine,x')).includes('mine'), sees)
      assert.equal((await who.get('//v2/images?marker=mine')).statusCode, sees ? 200 : 400)
    }
    const [hidden, absent] = [await stranger.get('//v2/images/mine'), await stranger.get('//v2/images/none')]
    assert.equal(hidden.body.replaceAll('mine', 'none'), absent.body)
    assert.equal((await cloud.member.get('//v2/images/mine')).json().owner, projectId)
  })

  test(`${database}: pages of any size hold every image once, in every order`, async () => {
    await using cloud = await testCloud({ database })
    for (let i = 0; i < 30; i++) {
      const name = `image-${i % 4}`
      const common = { name, sizeBytes: i % 3, diskFormat: i % 2 ? 'raw' : 'qcow2', properties: `{"id${i}":"${i}"}` }
      await addImage(cloud, `id-${String(i).padStart(2, '0')}`, { ...common, createdAt: 1_000_000 + (i % 7) * 1_000 })
    }
    const idsOf = (answer: { json(): { images: { id: string }[] } }) => answer.json().images.map(({ id }) => id)
    for (const order of [
      '',
      'sort=name:asc,size:desc',
      'sort_key=disk_format&sort_dir=asc',
      'sort=id:asc',
      'sort=created_at',
    ]) {
      const whole = idsOf(await cloud.member.get(`//v2/images?limit=1000&${order}`))
      assert.equal(new Set(whole).size, 31)
      const paged: string[] = []
      let path: string | undefined = `/v2/images?limit=7&${order}`
      for (let pages = 0; path !== undefined; pages++) {
        assert.ok(pages < 6)
        const answer = await cloud.member.get(`/${path}`)
        paged.push(...idsOf(answer))
        const { next, first } = answer.json()
        assert.match(first, /^\/v2\/images\?limit=7(&sort|$)/)
        path = next
      }
      assert.deepEqual(paged, whole)
    }
  })

  test(`${database}: a page has 25 images unless asked otherwise, and the last one has no next`, async () => {
    await using cloud = await testCloud({ database })
    for (let i = 1; i < 26; i++) await addImage(cloud, `id-${i}`)
    const first = (await cloud.member.get('//v2/images')).json()
    assert.equal(first.images.length, 25)
    assert.equal(first.images[0].id, 'id-25')
    assert.equal(first.next, `/v2/images?marker=${first.images[24].id}`)
    const last = (await cloud.member.get(`/${first.next}`)).json()
    assert.deepEqual(namesOf({ json: () => last }), ['tiny'])
    assert.equal(last.next, undefined)
    const exact = (await cloud.member.get('//v2/images?limit=26')).json()
    assert.equal(exact.images.length, 26)
    assert.equal(exact.next, undefined)
    assert.deepEqual((await cloud.member.get('//v2/images?limit=0')).json().images, [])
    assert.equal((await cloud.member.get('//v2/images?limit=9999')).json().images.length, 26)
  })

  test(`${database}: filters leave out the others`, async () => {
    await using cloud = await testCloud({ database })
    const { projectId } = cloud.member
    await addImage(cloud, 'raw', { diskFormat: 'raw', sizeBytes: 5_000_000_000, minRamMib: 512 })
    await addImage(cloud, 'own', { visibility: 'private', projectId, containerFormat: 'ovf', tags: '["a","b\\"c"]' })
    await addImage(cloud, 'a,b', {
      status: 'queued',
      isProtected: 1,
      properties: '{"os":"x","k":",\\"os\\":\\"y\\"","q\\"os":"z"}',
    })
    const found: [string, string[]][] = [
      ['name=raw', ['raw']],
      ['name=RAW', []],
      ['name=in:raw,own', ['own', 'raw']],
      ['name=in:"a,b",own', ['a,b', 'own']],
      [`id=${TINY_IMAGE_ID}`, ['tiny']],
      [`id=in:${TINY_IMAGE_ID},raw`, ['raw', 'tiny']],
      ['status=queued', ['a,b']],
      ['status=in:queued,saving', ['a,b']],
      ['visibility=private', ['own']],
      ['visibility=public', ['a,b', 'raw', 'tiny']],
      ['visibility=shared', []],
      ['visibility=all', ['a,b', 'own', 'raw', 'tiny']],
      [`owner=${projectId}`, ['own']],
      ['disk_format=raw', ['raw']],
      ['container_format=ovf', ['own']],
      ['tag=a', ['own']],
      ['tag=a&tag=b%22c', ['own']],
      ['tag=a&tag=d', []],
      ['tag=b', []],
      ['size_min=4000000000', ['raw']],
      ['size_min=10&size_max=10', ['a,b', 'own']],
      ['min_ram=512', ['raw']],
      ['protected=true', ['a,b', 'tiny']],
      ['os_hidden=true', []],
      ['os_hidden=false&name=raw', ['raw']],
      ['os_type=linux', ['tiny']],
      ['os_type=linux&login_user=root', ['tiny']],
      ['os_type=windows', []],
      ['os=x', ['a,b']],
      ['os=y', []],
      ['os=z', []],
      ['q%22os=z', ['a,b']],
      ['created_at=2026-11-24T12:01:00Z', ['raw']],
      ['created_at=gt:2026-11-24T12:01:00Z', ['a,b', 'own']],
      ['created_at=lte:2026-11-24T12:01:00Z', ['raw', 'tiny']],
      ['updated_at=neq:2026-11-24T12:01:00Z', ['a,b', 'own', 'tiny']],
      ['name=raw&status=queued', []],
    ]
    for (const [query, names] of found) {
      const answer = await cloud.member.get(`//v2/images?${query}`)
      assert.equal(answer.statusCode, 200, query)
      assert.deepEqual(namesOf(answer).sort(), names, query)
    }
    const page = (await cloud.member.get('//image/v2/images?visibility=public&limit=1')).json()
    assert.equal(page.next, `/v2/images?visibility=public&limit=1&marker=${encodeURIComponent(page.images[0].id)}`)
    assert.equal(page.first, '/v2/images?visibility=public&limit=1')
  })

  test(`${database}: an image that does not exist is a page for people, and JSON for who asks for it`, async () => {
    await using cloud = await testCloud({ database })
    for (const path of ['//v2/images', '//image/v2/images']) {
      const page = await cloud.member.get(`${path}/tiny`)
      assert.equal(page.statusCode, 404)
      assert.match(String(page.headers['content-type']), /^text\/html; charset=utf-8/i)
      assert.match(page.body, /<h1>404 Not Found<\/h1>/)
      const answer = await cloud.member.get(`${path}/tiny`, JSON_PLEASE)
      assert.equal(answer.statusCode, 404)
      assert.match(String(answer.headers['content-type']), /^application\/json/)
      const { code, title, message, ...more } = answer.json()
      assert.deepEqual([code, title, more], ['404 Not Found', 'Not Found', {}])
      assert.match(message, /tiny/)
    }
    const odd = await cloud.member.get(`//v2/images/${encodeURIComponent('<script>alert("1")</script>')}`)
    assert.equal(odd.statusCode, 404)
    assert.doesNotMatch(odd.body, /<script/)
    for (const id of ['%00', '%25', "'", '%F0%9F%98%80']) {
      assert.equal((await cloud.member.get(`//v2/images/${id}`, JSON_PLEASE)).statusCode, 404, id)
    }
  })

  test(`${database}: a query that makes no sense is refused in Glance's shape`, async () => {
    await using cloud = await testCloud({ database })
    const refused = [
      ...['limit=-1', 'limit=x', 'marker=nothing', 'marker=%00', 'sort=color:asc', 'sort_key=color', 'sort_dir=up'],
      ...['status=good', 'visibility=secret', 'size_min=x', 'name=%00', 'created_at=yesterday', 'protected=maybe'],
    ]
    for (const query of refused) {
      const answer = await cloud.member.get(`//v2/images?${query}`, JSON_PLEASE)
      assert.equal(answer.statusCode, 400, query)
      assert.equal(answer.json().code, '400 Bad Request')
      assert.ok(answer.json().message)
      assert.match((await cloud.member.get(`//v2/images?${query}`)).body, /<h1>400 Bad Request<\/h1>/)
    }
  })

  test(`${database}: without a token nothing is shown`, async () => {
    await using cloud = await testCloud({ database })
    for (const url of [
      '/v2/images',
      `/v2/images/${TINY_IMAGE_ID}`,
      '/image/v2/images',
      '/image/v2/images/none',
      '/v2/schemas/image',
    ]) {
      const answer = await cloud.app.inject({ url, headers: JSON_PLEASE })
      assert.equal(answer.statusCode, 401, url)
      assert.match(String(answer.headers['www-authenticate']), /^Keystone uri=/)
      assert.equal(answer.json().error.code, 401)
    }
  })

  test(`${database}: a query of more filters than anybody needs is refused`, async () => {
    await using cloud = await testCloud({ database })
    const ask = (count: number) => {
      const filters = Array.from({ length: count }, (_, n) => `${'abc'.charAt(n % 3)}=${n % 10}`)
      return cloud.member.get(`//v2/images?${filters.join('&')}`, JSON_PLEASE)
    }
    assert.equal((await ask(50)).statusCode, 200)
    for (const count of [51, 1_100]) {
      const answer = await ask(count)
      assert.equal(answer.statusCode, 400)
      assert.match(answer.json().message, /at most 50 filters/)
    }
  })

  test(`${database}: whatever is asked is answered or refused, never failed`, async () => {
    await using cloud = await testCloud({ database })
    const name = fc.oneof(
      fc.constantFrom(
        'limit',
        'marker',
        'sort',
        'sort_key',
        'sort_dir',
        'id',
        'name',
        'status',
        'tag',
        'size_min',
        'owner',
      ),
      fc.constantFrom('created_at', 'visibility', 'protected', 'checksum', 'min_ram', '__proto__', 'toString'),
      fc.string({ unit: 'binary', maxLength: 8 }),
    )
    const prefix = fc.constantFrom('', '', 'in:', 'gt:', 'name:', '"')
    const value = fc.tuple(prefix, fc.string({ unit: 'binary', maxLength: 12 })).map((parts) => parts.join(''))
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(name, value), { maxLength: 4 }), async (members) => {
        const query = members.map((member) => member.map((part) => encodeURIComponent(part.toWellFormed())).join('='))
        const answer = await cloud.member.get(`//v2/images?${query.join('&')}`, JSON_PLEASE)
        assert.ok([200, 400].includes(answer.statusCode), answer.body)
      }),
      { numRuns: 300 },
    )
  })
}
