import assert from 'node:assert/strict'
import { test } from 'node:test'
import { askToken, byPassword, byToken, passwordOf } from '../support/identity-requests.ts'
import { DATABASES, testCloud } from '../support/test-cloud.ts'

interface Entry {
  id: string
  type: string
  name: string
  endpoints: { id: string; interface: string; region: string; region_id: string; url: string }[]
}

for (const database of DATABASES) {
  test(`${database}: the catalogue has every service, three times, where the request came to`, async () => {
    await using cloud = await testCloud({ database, config: { region: 'attic' } })
    const { projectId, token } = cloud.member
    const headers = { 'x-auth-token': token, host: 'cloud.example:8774' }
    const answer = await cloud.app.inject({ url: '/identity/v3/auth/catalog', headers })
    assert.equal(answer.statusCode, 200)
    const catalog: Entry[] = answer.json().catalog
    const base = 'http://cloud.example:8774'
    assert.equal(answer.json().links.self, `${base}/identity/v3/auth/catalog`)
    assert.deepEqual(Object.fromEntries(catalog.map(({ type, endpoints }) => [type, endpoints[0]?.url])), {
      compute: `${base}/compute/v2.1`,
      identity: `${base}/identity`,
      image: `${base}/image`,
      network: `${base}/network`,
      volume: `${base}/volume/v3/${projectId}`,
      volumev2: `${base}/volume/v3/${projectId}`,
      volumev3: `${base}/volume/v3/${projectId}`,
    })
    for (const { id, endpoints } of catalog) {
      assert.match(id, /^[0-9a-f]{32}$/)
      assert.deepEqual(endpoints.map((endpoint) => endpoint.interface).sort(), ['admin', 'internal', 'public'])
      assert.equal(new Set(endpoints.map((endpoint) => endpoint.url)).size, 1)
      for (const endpoint of endpoints) assert.deepEqual([endpoint.region, endpoint.region_id], ['attic', 'attic'])
    }
    const ids = catalog.flatMap((entry) => [entry.id, ...entry.endpoints.map((endpoint) => endpoint.id)])
    assert.equal(new Set(ids).size, 7 + 21)

    await cloud.stop()
    await cloud.start()
    const again = await cloud.app.inject({ url: '/v3/auth/catalog', headers })
    assert.deepEqual(again.json().catalog, catalog)
    const issued = await cloud.app.inject({
      method: 'POST',
      url: '/v3/auth/tokens',
      headers: { host: 'cloud.example:8774' },
      payload: { auth: { identity: byToken(token) } },
    })
    assert.deepEqual(issued.json().token.catalog, catalog)
  })

  test(`${database}: a configured address goes before that of the request, and a strange Host into no link`, async () => {
    await using cloud = await testCloud({ database, config: { publicUrl: 'https://cloud.example/' } })
    const headers = { 'x-auth-token': cloud.member.token, host: 'elsewhere' }
    const { catalog } = (await cloud.app.inject({ url: '/v3/auth/catalog', headers })).json()
    assert.equal(catalog[1].endpoints[0].url, 'https://cloud.example/identity')

    await using plain = await testCloud({ database })
    const strange = await plain.app.inject({ url: '/identity', headers: { host: 'a"b<c>' } })
    assert.equal(strange.headers.location, 'http://127.0.0.1:8774/identity/v3/')
  })

  test(`${database}: an unscoped token has no catalogue, and is told where it may go`, async () => {
    await using cloud = await testCloud({ database })
    const identity = byPassword('demo', passwordOf(cloud, 'demo'))
    const answer = await askToken(cloud, { identity, scope: 'unscoped' })
    const headers = { 'x-auth-token': String(answer.headers['x-subject-token']) }
    const catalog = await cloud.app.inject({ url: '/v3/auth/catalog', headers })
    assert.equal(catalog.statusCode, 403)
    assert.equal(catalog.json().error.code, 403)
    const { projects, links } = (await cloud.app.inject({ url: '/identity/v3/auth/projects', headers })).json()
    assert.deepEqual(links, { self: 'http://localhost:80/identity/v3/auth/projects', next: null, previous: null })
    assert.equal(projects.length, 1)
    assert.deepEqual(projects[0], {
      id: cloud.member.projectId,
      name: 'demo',
      description: projects[0].description,
      domain_id: 'default',
      parent_id: 'default',
      enabled: true,
      is_domain: false,
      tags: [],
      options: {},
      links: { self: `http://localhost:80/identity/v3/projects/${cloud.member.projectId}` },
    })
    assert.deepEqual((await cloud.app.inject({ url: '/v3/auth/domains', headers })).json().domains, [])
    assert.deepEqual((await cloud.app.inject({ url: '/v3/auth/system', headers })).json().system, [])
    for (const url of ['/v3/auth/projects', '/v3/auth/domains', '/v3/auth/system', '/v3/auth/catalog']) {
      assert.equal((await cloud.app.inject({ url })).statusCode, 401)
    }
  })

  test(`${database}: version documents need no token, with and without a slash`, async () => {
    await using cloud = await testCloud({ database })
    for (const url of ['/identity', '/identity/']) {
      const answer = await cloud.app.inject({ url })
      assert.equal(answer.statusCode, 300)
      assert.equal(answer.headers.location, 'http://localhost:80/identity/v3/')
      assert.equal(answer.headers.vary, 'X-Auth-Token')
      const [version] = answer.json().versions.values
      assert.equal(version.id, 'v3.14')
      assert.equal(version.status, 'stable')
      assert.deepEqual(version.links, [{ rel: 'self', href: 'http://localhost:80/identity/v3/' }])
    }
    for (const path of ['/v3', '/identity/v3']) {
      for (const url of [path, `${path}/`]) {
        const answer = await cloud.app.inject({ url, headers: { accept: 'application/json-home' } })
        assert.equal(answer.statusCode, 200)
        assert.deepEqual(answer.json().version.links, [{ rel: 'self', href: `http://localhost:80${path}/` }])
      }
    }
  })
}
