/** Lists of volumes and snapshots: filters, orders, pages; and the versions of the service. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { assertFault } from '../support/assert-fault.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { type Client, DATABASES } from '../support/test-cloud.ts'
import { cinder, makeSnapshot, makeVolume } from '../support/volume-requests.ts'

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database })
    const ids: string[] = []
    const names = async (query: string, client: Client = shared().member): Promise<string[]> => {
      const answer = await cinder(client, '3.71').get(`/volumes?${query}`)
      assert.equal(answer.statusCode, 200, answer.body)
      return answer.json().volumes.map(({ name }: { name: string }) => name)
    }

    test('volumes are listed newest first', async () => {
      const cloud = shared()
      for (const [name, size] of [
        ['c', 3],
        ['a', 1],
        ['b', 2],
      ] as const) {
        ids.push(await makeVolume(cloud, { name, size, metadata: { name, all: 'yes' } }))
        cloud.clock.advance(1_000)
      }
      assert.deepEqual(await names(''), ['b', 'a', 'c'])
    })

    test('filters and orders', async () => {
      const cloud = shared()
      const [c = ''] = ids
      assert.equal((await cinder(cloud.member).put(`/volumes/${c}`, { volume: { description: 'x' } })).statusCode, 200)
      for (const [query, expected] of [
        ['name=a', ['a']],
        ['name=', []],
        ['name~=', ['b', 'a', 'c']],
        ['status=available', ['b', 'a', 'c']],
        ['status=error', []],
        ['status=nonsense', []],
        ['bootable=false', ['b', 'a', 'c']],
        ['bootable=true', []],
        ['availability_zone=nova', ['b', 'a', 'c']],
        [`metadata=${encodeURIComponent("{'name': 'b'}")}`, ['b']],
        [`metadata=${encodeURIComponent('{"name": "b", "all": "yes"}')}`, ['b']],
        [`metadata=${encodeURIComponent("{'name': 'b', 'all': 'no'}")}`, []],
        ['sort=name:asc', ['a', 'b', 'c']],
        ['sort=size', ['c', 'b', 'a']],
        ['sort=status:asc,size:asc', ['a', 'b', 'c']],
        ['sort_key=name&sort_dir=desc', ['c', 'b', 'a']],
        ['limit=0', []],
        ['offset=1', ['a', 'c']],
        ['offset=7', []],
        [`marker=${c}`, []],
        ['colour=blue', ['b', 'a', 'c']],
        ['all_tenants=1', ['b', 'a', 'c']],
      ] as const) {
        assert.deepEqual(await names(query), expected, query)
      }
    })

    test('pages follow each other by their links', async () => {
      const service = cinder(shared().member, '3.71')
      const first = (await service.get('/volumes/detail?limit=2&sort=name:asc&with_count=True')).json()
      assert.deepEqual([first.volumes.length, first.count], [2, 3])
      const [next] = first.volumes_links
      assert.equal(next.rel, 'next')
      const rest = await shared().member.get(`/${new URL(next.href).pathname}${new URL(next.href).search}`)
      assert.deepEqual(
        rest.json().volumes.map(({ name }: { name: string }) => name),
        ['c'],
      )
      assert.equal(rest.json().volumes_links, undefined)
    })

    test('what cannot be asked for is refused', async () => {
      const service = cinder(shared().member, '3.71')
      for (const [query, status, message] of [
        ['limit=-1', 400, /limit/],
        ['limit=x', 400, /limit/],
        ['offset=-1', 400, /offset/],
        ['sort=colour', 400, /nothing to sort by/],
        ['sort=name:up', 400, /asc or desc/],
        ['sort=name&sort_key=name', 400, /not both/],
        ['bootable=perhaps', 400, /true or false/],
        ['with_count=perhaps', 400, /true or false/],
        ['metadata=perhaps', 400, /dictionary/],
        ['marker=none', 404, /Marker/],
        ['sort=constructor', 400, /nothing to sort by/],
      ] as const) {
        assertFault(await service.get(`/volumes?${query}`), status, message, query)
        assertFault(await service.get(`/volumes/detail?${query}`), status, message, query)
        if (query.startsWith('bootable')) continue
        assertFault(await service.get(`/snapshots?${query}`), status, message, query)
      }
    })

    test('a project sees its own; an admin sees all who asks for it', async () => {
      const cloud = shared()
      const stranger = await cloud.stranger()
      assert.deepEqual(await names('', stranger), [])
      assert.deepEqual(await names('all_tenants=1', stranger), [])
      assert.deepEqual(await names('', cloud.admin), [])
      assert.deepEqual(await names('all_tenants=True', cloud.admin), ['b', 'a', 'c'])
      assert.deepEqual(await names(`all_tenants=1&project_id=${stranger.projectId}`, cloud.admin), [])
      assert.deepEqual(await names(`all_tenants&project_id=${cloud.member.projectId}`, cloud.admin), ['b', 'a', 'c'])
      const summary = (await cinder(cloud.member, '3.36').get('/volumes/summary')).json()['volume-summary']
      assert.deepEqual([summary.total_count, summary.total_size, summary.metadata.all], [3, 6, ['yes']])
      const older = (await cinder(stranger, '3.12').get('/volumes/summary')).json()
      assert.deepEqual(older, { 'volume-summary': { total_count: 0, total_size: 0 } })
      assertFault(await cinder(cloud.member, '3.11').get('/volumes/summary'), 404, /came with 3\.12/)
    })

    test('snapshots are listed the same way', async () => {
      const cloud = shared()
      const [volumeId = '', other = ''] = ids
      const first = await makeSnapshot(cloud, volumeId, { name: 'first', metadata: { a: '1' } })
      cloud.clock.advance(1_000)
      const second = await makeSnapshot(cloud, other, { name: 'second' })
      const list = async (query: string) => {
        const answer = await cinder(cloud.member, '3.45').get(`/snapshots/detail?${query}`)
        return answer.json().snapshots.map(({ id }: { id: string }) => id)
      }
      assert.deepEqual(await list(''), [second, first])
      assert.deepEqual(await list(`volume_id=${volumeId}`), [first])
      assert.deepEqual(await list('name=second&status=available'), [second])
      assert.deepEqual(await list("metadata={'a':'1'}"), [first])
      assert.deepEqual(await list('sort=name:asc&limit=1'), [first])
      const counted = (await cinder(cloud.member, '3.45').get('/snapshots?limit=1&with_count=1')).json()
      assert.deepEqual([counted.count, counted.snapshots.length, counted.snapshots_links.length], [2, 1, 1])
      assert.deepEqual((await cinder(await cloud.stranger()).get('/snapshots')).json(), { snapshots: [] })
    })

    test('versions are found without a token, and each request says which it speaks', async () => {
      const cloud = shared()
      for (const [url, status] of [
        ['/volume', 300],
        ['/volume/', 300],
        ['/volume/v3', 200],
        ['/volume/v3/', 200],
      ] as const) {
        const answer = await cloud.app.inject({ url })
        assert.equal(answer.statusCode, status, url)
        const [version] = answer.json().versions
        assert.deepEqual([version.id, version.min_version, version.version], ['v3.0', '3.0', '3.71'])
        assert.match(version.links[0].href, /\/volume\/v3\/$/)
      }
      const ask = (header: string) =>
        cloud.member.get(`//volume/v3/${cloud.member.projectId}/volumes`, { 'openstack-api-version': header })
      for (const [header, version] of [
        ['volume 3.59', '3.59'],
        ['volume latest', '3.71'],
        ['compute 2.1', '3.0'],
      ] as const) {
        const answer = await ask(header)
        assert.equal(answer.headers['openstack-api-version'], `volume ${version}`)
        assert.equal(answer.headers.vary, 'OpenStack-API-Version')
      }
      assertFault(await ask('volume 3.72'), 406, /Minimum is 3\.0 and maximum is 3\.71/)
      assertFault(await ask('volume nonsense'), 400, /invalid format/)
      // The old header of gophercloud is nobody's word.
      const old = { 'x-openstack-volume-api-version': '3.60' }
      const answer = await cloud.member.get(`//volume/v3/${cloud.member.projectId}/volumes`, old)
      assert.equal(answer.headers['openstack-api-version'], 'volume 3.0')
      // Without a project in the path, and faults tell the version too.
      assert.equal((await cloud.member.get('//volume/v3/volumes')).json().volumes.length, 3)
      const missing = await cinder(cloud.member, '3.40').get('/volumes/none')
      assertFault(missing, 404, /could not be found/)
      assert.equal(missing.headers['openstack-api-version'], 'volume 3.40')
      const foreign = await cloud.member.get(`//volume/v3/${'0'.repeat(32)}/volumes`)
      assertFault(foreign, 400, /is not the project of the token/)
      assert.equal((await cloud.app.inject({ url: '/volume/v3/volumes' })).statusCode, 401)
    })
  })
}
