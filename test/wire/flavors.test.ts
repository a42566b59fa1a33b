import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import type { FlavorsTable } from '../../src/db/schema.ts'
import { seedFlavors } from '../../src/flavors/flavor-seed.ts'
import { assertSameShape } from '../support/same-shape.ts'
import { DATABASES, type TestCloud, testCloud } from '../support/test-cloud.ts'

const fixture = (name: string) => JSON.parse(readFileSync(new URL(`../fixtures/uos/${name}`, import.meta.url), 'utf8'))

/** Adds a flavor as an operator would. */
async function addFlavor(cloud: TestCloud, id: string, change: Partial<FlavorsTable> = {}): Promise<void> {
  const size = { vcpus: 1, ramMib: 64, diskGib: 1, ephemeralGib: 0, swapMib: 0, rxtxFactor: 1 }
  await cloud.cloud.db.transaction((tx) =>
    tx
      .insertInto('flavors')
      .values({ id, name: id, ...size, isPublic: 1, isDisabled: 0, ...change })
      .execute(),
  )
}

const namesOf = (answer: { json(): { flavors: { name: string }[] } }) => answer.json().flavors.map(({ name }) => name)

for (const database of DATABASES) {
  test(`${database}: the brief list has the shape of the seed, and its ids`, async () => {
    await using cloud = await testCloud({ database })
    const answer = await cloud.member.get('/flavors')
    assert.equal(answer.statusCode, 200)
    assertSameShape(answer.json(), fixture('S22.response.json'))
    const ids = new Map(answer.json().flavors.map(({ id, name }: { id: string; name: string }) => [name, id]))
    for (const { id, name } of fixture('S22.response.json').flavors) assert.equal(ids.get(name), id)
    assert.equal(ids.size, 19)
  })

  test(`${database}: the detailed list and one flavor have the shape of the seed`, async () => {
    await using cloud = await testCloud({ database })
    const list = await cloud.member.get('/flavors/detail')
    assert.equal(list.statusCode, 200)
    assertSameShape(list.json(), fixture('S23.response.json'))
    for (const flavor of list.json().flavors) {
      const one = await cloud.member.get(`/flavors/${flavor.id}`)
      assert.equal(one.statusCode, 200)
      assertSameShape(one.json(), fixture('S24.response.json'))
      assert.deepEqual(one.json().flavor, flavor)
    }
  })

  test(`${database}: the sizes are those the vendor offers`, async () => {
    await using cloud = await testCloud({ database })
    const sizes = (await cloud.member.get('/flavors/detail'))
      .json()
      .flavors.map((f: Record<string, unknown>) => `${f.name} ${f.vcpus}/${f.ram}/${f.disk}`)
      .sort()
    const offered = ['tiny 1/128/1', 'micro-1 1/512/20', 'micro-2 1/1024/20', 'standard-1 1/2048/20']
    for (const [kind, ramOf] of [
      ['standard', (n: number) => n * 2],
      ['memory', (n: number) => n * 4],
      ['compute', (n: number) => n],
    ] as const) {
      for (const n of [1, 2, 4, 8, 12, 16]) {
        const isOffered = kind === 'compute' ? n > 1 && n < 16 : !(kind === 'standard' && n === 1)
        if (isOffered) offered.push(`${kind}-${n} ${n}/${ramOf(n) * 1024}/20`)
      }
    }
    assert.deepEqual(sizes, offered.sort())
  })

  test(`${database}: links lead to the flavor, with and without a version`, async () => {
    await using cloud = await testCloud({ database })
    const { id, links } = (await cloud.member.get('/flavors')).json().flavors[0]
    const { projectId } = cloud.member
    assert.deepEqual(
      links.map(({ rel, href }: { rel: string; href: string }) => [rel, new URL(href).pathname]),
      [
        ['self', `/v2/${projectId}/flavors/${id}`],
        ['bookmark', `/${projectId}/flavors/${id}`],
      ],
    )
  })

  test(`${database}: swap is a number only when there is some`, async () => {
    await using cloud = await testCloud({ database })
    await addFlavor(cloud, 'swapper', { swapMib: 512, ephemeralGib: 3, rxtxFactor: 1.5 })
    const { flavor } = (await cloud.member.get('/flavors/swapper')).json()
    assert.deepEqual([flavor.swap, flavor['OS-FLV-EXT-DATA:ephemeral'], flavor.rxtx_factor], [512, 3, 1.5])
  })

  test(`${database}: seeding again leaves what an operator changed`, async () => {
    await using cloud = await testCloud({ database })
    const { db } = cloud.cloud
    await db.transaction((tx) => tx.updateTable('flavors').set({ isDisabled: 1 }).where('name', '=', 'tiny').execute())
    await db.transaction((tx) => tx.deleteFrom('flavors').where('name', '=', 'memory-1').execute())
    await addFlavor(cloud, 'mine', { name: 'memory-1' })
    await db.transaction(seedFlavors)
    assert.equal((await cloud.member.get('/flavors/mine')).json().flavor.name, 'memory-1')
    assert.ok(!namesOf(await cloud.member.get('/flavors')).includes('tiny'))
  })

  test(`${database}: pages of any size hold every flavor once, in every order`, async () => {
    await using cloud = await testCloud({ database })
    for (const order of [
      '',
      '&sort_dir=desc',
      '&sort_key=memory_mb',
      '&sort_key=vcpus&sort_dir=desc',
      '&sort_key=name',
    ]) {
      const whole = namesOf(await cloud.member.get(`/flavors?${order.slice(1)}`))
      assert.equal(new Set(whole).size, 19)
      const paged: string[] = []
      let path: string | undefined = `/flavors/detail?limit=4${order}`
      while (path !== undefined) {
        const answer = await cloud.member.get(path)
        assert.equal(answer.statusCode, 200)
        paged.push(...namesOf(answer))
        const [next] = answer.json().flavors_links ?? []
        assert.equal(next?.rel ?? 'next', 'next')
        path = next?.href.split(cloud.member.projectId)[1]
      }
      assert.deepEqual(paged, whole)
    }
  })

  test(`${database}: flavors are sorted by id unless asked otherwise`, async () => {
    await using cloud = await testCloud({ database })
    const list = async (query: string) => (await cloud.member.get(`/flavors/detail${query}`)).json().flavors
    const ids = (await list('')).map(({ id }: { id: string }) => id)
    assert.deepEqual(ids, ids.toSorted())
    const rams = (await list('?sort_key=memory_mb&sort_dir=desc')).map(({ ram }: { ram: number }) => ram)
    assert.deepEqual(
      rams,
      rams.toSorted((a: number, b: number) => b - a),
    )
  })

  test(`${database}: a page of none is empty, and one beyond the maximum is cut`, async () => {
    await using cloud = await testCloud({ database })
    assert.deepEqual((await cloud.member.get('/flavors?limit=0')).json(), { flavors: [] })
    const all = (await cloud.member.get('/flavors?limit=5000')).json()
    assert.equal(all.flavors.length, 19)
    assert.equal(all.flavors_links, undefined)
  })

  test(`${database}: minRam and minDisk leave out what is smaller`, async () => {
    await using cloud = await testCloud({ database })
    assert.deepEqual(namesOf(await cloud.member.get('/flavors?minRam=49152')).sort(), ['memory-12', 'memory-16'])
    assert.equal(namesOf(await cloud.member.get('/flavors?minDisk=2')).length, 18)
    assert.deepEqual(namesOf(await cloud.member.get('/flavors?minDisk=21')), [])
    const page = await cloud.member.get('/flavors/detail?minRam=32768&limit=1')
    assert.match(page.json().flavors_links[0].href, /minRam=32768/)
  })

  test(`${database}: only admins see flavors that are not public or disabled`, async () => {
    await using cloud = await testCloud({ database })
    await addFlavor(cloud, 'hidden', { isPublic: 0 })
    await addFlavor(cloud, 'retired', { isDisabled: 1 })
    const seen = async (who: 'admin' | 'member', query: string) =>
      namesOf(await cloud[who].get(`/flavors${query}`)).filter((name) => ['hidden', 'retired'].includes(name))
    for (const query of ['', '?is_public=None', '?is_public=false', '?is_public=true']) {
      assert.deepEqual(await seen('member', query), [])
    }
    assert.deepEqual(await seen('admin', ''), ['retired'])
    assert.deepEqual(await seen('admin', '?is_public=none'), ['hidden', 'retired'])
    assert.deepEqual(namesOf(await cloud.admin.get('/flavors?is_public=0')), ['hidden'])
    assert.equal((await cloud.member.get('/flavors/hidden')).statusCode, 404)
    assert.equal((await cloud.admin.get('/flavors/hidden')).statusCode, 200)
    assert.equal((await cloud.member.get('/flavors/retired')).json().flavor['OS-FLV-DISABLED:disabled'], true)
  })

  test(`${database}: a query that makes no sense is refused`, async () => {
    await using cloud = await testCloud({ database })
    await addFlavor(cloud, 'hidden', { isPublic: 0 })
    const refused = [
      ...[
        'limit=-1',
        'limit=x',
        'limit=1.5',
        'limit=',
        'limit=1&limit=2',
        'marker=nothing',
        'marker=hidden',
        'marker=%00',
      ],
      ...['minRam=x', 'minRam=-1', 'minDisk=1.5', 'minDisk=', 'is_public=maybe'],
      ...['sort_key=color', 'sort_key=__proto__', 'sort_key=constructor', 'sort_dir=up'],
    ]
    for (const path of ['/flavors', '/flavors/detail']) {
      for (const query of refused) {
        const answer = await cloud.member.get(`${path}?${query}`)
        assert.equal(answer.statusCode, 400, query)
        assert.equal(answer.json().badRequest.code, 400)
        assert.match(answer.json().badRequest.message, new RegExp(query.split('=', 1)[0] ?? ''), query)
      }
    }
    assert.equal((await cloud.member.get('/flavors?color=blue')).statusCode, 200)
  })

  test(`${database}: a flavor that does not exist is not found`, async () => {
    await using cloud = await testCloud({ database })
    for (const id of ['tiny', '00000000-0000-0000-0000-000000000000', "'", '%25', '%F0%9F%98%80', 'x'.repeat(250)]) {
      const answer = await cloud.member.get(`/flavors/${id}`)
      assert.equal(answer.statusCode, 404, id)
      assert.equal(answer.json().itemNotFound.code, 404)
    }
  })

  test(`${database}: no token, no flavors; another project in the path is refused`, async () => {
    await using cloud = await testCloud({ database })
    const { projectId } = cloud.member
    assert.equal((await cloud.app.inject(`/v2/${projectId}/flavors`)).statusCode, 401)
    const other = await cloud.member.get(`//v2/${cloud.admin.projectId}/flavors`)
    assert.equal(other.statusCode, 400)
    const reader = await cloud.stranger('reader')
    assert.equal((await reader.get('/flavors')).statusCode, 200)
  })

  test(`${database}: whatever is asked is answered or refused, never failed`, async () => {
    await using cloud = await testCloud({ database })
    const name = fc.constantFrom('limit', 'marker', 'minRam', 'minDisk', 'is_public', 'sort_key', 'sort_dir')
    const value = fc.oneof(fc.string({ unit: 'binary', maxLength: 20 }), fc.integer().map(String))
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(name, value), { maxLength: 4 }), async (members) => {
        const query = members.map((member) => member.map((part) => encodeURIComponent(part.toWellFormed())).join('='))
        const answer = await cloud.member.get(`/flavors?${query.join('&')}`)
        assert.ok([200, 400].includes(answer.statusCode), answer.body)
        assert.ok(answer.statusCode === 200 ? answer.json().flavors : answer.json().badRequest.message)
      }),
      { numRuns: 150 },
    )
  })
}
