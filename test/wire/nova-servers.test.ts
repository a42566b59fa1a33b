import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { assertSameShape } from '../support/same-shape.ts'
import { type Client, DATABASES, testCloud } from '../support/test-cloud.ts'
import { addVolume } from '../support/volumes.ts'

const sample = (name: string) =>
  JSON.parse(readFileSync(`${import.meta.dirname}/../fixtures/nova/${name}.json`, 'utf8')) as Record<string, unknown>

/** Below `/compute/v2.1`, with the project in the path or without. */
const nova = (client: Client, path: string, inPath = false): string =>
  `//compute/v2.1${inPath ? `/${client.projectId}` : ''}${path}`

for (const database of DATABASES) {
  test(`${database}: a server is made, seen, changed and deleted with the statuses of Nova`, async () => {
    await using cloud = await testCloud({ database })
    const { member } = cloud
    const { server: wish } = await cloud.wish()
    const created = await member.post(nova(member, '/servers'), { server: { ...wish, metadata: { a: 'b' } } })
    assert.equal(created.statusCode, 202, created.body)
    assert.deepEqual(Object.keys(created.json().server).sort(), [
      'OS-DCF:diskConfig',
      'adminPass',
      'id',
      'links',
      'security_groups',
    ])
    const { id } = created.json().server
    assert.equal(created.headers.location, `http://localhost:80/compute/v2.1/servers/${id}`)
    await cloud.settled()
    cloud.id.web = id

    const shown = await member.get(nova(member, `/servers/${id}`))
    assert.equal(shown.statusCode, 200)
    assert.equal(shown.json().server.status, 'ACTIVE')
    assert.deepEqual(
      Object.keys(shown.json().server).sort(),
      Object.keys(sample('server-get-resp').server as object)
        .filter((member) => !member.startsWith('OS-EXT-SRV-ATTR:'))
        .sort(),
    )
    const detailed = await member.get(nova(member, '/servers/detail'))
    assert.deepEqual(detailed.json().servers, [shown.json().server])
    const brief = await member.get(nova(member, '/servers?limit=1'))
    assert.deepEqual(Object.keys(brief.json().servers[0]).sort(), ['id', 'links', 'name'])
    assert.match(brief.json().servers_links[0].href, /\/compute\/v2\.1\/servers\?limit=1&marker=/)

    const renamed = await member.put(nova(member, `/servers/${id}`), { server: { name: 'db' } })
    assert.equal(renamed.statusCode, 200)
    assert.equal(renamed.json().server.name, 'db')
    assert.deepEqual(
      Object.keys(renamed.json().server).sort(),
      Object.keys(sample('server-update-resp').server as object).sort(),
    )
    const deleted = await member.delete(nova(member, `/servers/${id}`))
    assert.equal(deleted.statusCode, 204)
    await cloud.settled()
    assert.equal((await member.get(nova(member, `/servers/${id}`))).statusCode, 404)
  })

  test(`${database}: actions answer with Nova's statuses, and those of UOS alone are unknown`, async () => {
    await using cloud = await testCloud({ database, servers: { web: {} } })
    const { member } = cloud
    const act = (body: object) => member.post(nova(member, `/servers/${cloud.id.web}/action`), body)
    const vnc = await act({ 'os-getVNCConsole': { type: 'novnc' } })
    assert.equal(vnc.statusCode, 200, vnc.body)
    const image = await act({ createImage: { name: 'saved' } })
    assert.equal(image.statusCode, 202)
    assert.equal(image.body, '')
    assert.match(String(image.headers.location), /\/v2\/images\/[0-9a-f-]{36}$/)
    await cloud.settled()
    assert.equal((await act({ 'os-stop': null })).statusCode, 202)
    await cloud.settled()
    for (const action of ['os-shutdown', 'attachKeypairs', 'detachKeypairs', 'toString']) {
      const answer = await act({ [action]: { key_names: ['a'] } })
      assert.equal(answer.statusCode, 400, action)
      assert.match(answer.json().badRequest.message, /no such action/)
    }
    assert.equal((await act({ createImage: { name: 'x', unknown: 1 } })).statusCode, 400)
    assert.equal((await act({ reboot: { type: 'sOfT' } })).statusCode, 400)
  })
}

test('links name the project when the URL did, and a foreign project is refused', async () => {
  await using cloud = await testCloud({ servers: { web: {} } })
  const { member, admin } = cloud
  const shown = await member.get(nova(member, `/servers/${cloud.id.web}`, true))
  const base = 'http://localhost:80/compute'
  assert.deepEqual(
    shown.json().server.links.map(({ href }: { href: string }) => href),
    [`${base}/v2.1/${member.projectId}/servers/${cloud.id.web}`, `${base}/${member.projectId}/servers/${cloud.id.web}`],
  )
  const bare = await member.get(nova(member, `/servers/${cloud.id.web}`))
  assert.equal(bare.json().server.links[0].href, `${base}/v2.1/servers/${cloud.id.web}`)
  assert.equal((await member.get(`//compute/v2.1/${admin.projectId}/servers`)).statusCode, 400)
  const byAdmin = await admin.get(nova(admin, `/servers/${cloud.id.web}`))
  assert.equal(byAdmin.json().server['OS-EXT-SRV-ATTR:host'], 'test-host')
  assert.equal(Object.hasOwn(bare.json().server, 'OS-EXT-SRV-ATTR:host'), false)
})

test('unknown members of a body are refused, and nothing is made', async () => {
  await using cloud = await testCloud()
  const { member } = cloud
  const { server } = await cloud.wish()
  for (const [body, about] of [
    [{ server: { ...server, description: 'no' } }, /description|additional/],
    [{ server, more: 1 }, /additional/],
    [{ server: { ...server, name: ' web' } }, /name/],
    [{ server: { ...server, networks: [{ uuid: 'x', tag: 'a' }] } }, /networks/],
    [{ server: { ...server, user_data: null } }, /user_data/],
    [{ server, 'os:scheduler_hints': { group: 'x' } }, /group/],
  ] as const) {
    const answer = await member.post(nova(member, '/servers'), body)
    assert.equal(answer.statusCode, 400, answer.body)
    assert.match(answer.json().badRequest.message, about)
  }
  assert.deepEqual((await member.get(nova(member, '/servers'))).json(), { servers: [] })
})

test('every answer tells its version, faults too, and a version that is not offered is 406', async () => {
  await using cloud = await testCloud()
  const { member } = cloud
  const at = (version: string) => member.get(nova(member, '/flavors'), { 'openstack-api-version': version })
  const fine = await at('compute latest')
  assert.equal(fine.headers['openstack-api-version'], 'compute 2.1')
  assert.equal(fine.headers['x-openstack-nova-api-version'], '2.1')
  assert.equal(fine.headers.vary, 'OpenStack-API-Version, X-OpenStack-Nova-API-Version')
  const missing = await member.get(nova(member, '/flavors/none'))
  assert.equal(missing.statusCode, 404)
  assert.equal(missing.headers['x-openstack-nova-api-version'], '2.1')
  const newer = await at('compute 2.99')
  assert.equal(newer.statusCode, 406)
  assert.match(newer.json().computeFault.message, /from 2\.1 to/)
  assert.equal((await at('compute two')).statusCode, 400)
})

test('who has no token sees the versions and nothing else', async () => {
  await using cloud = await testCloud()
  const ask = (url: string) => cloud.app.inject({ url })
  assert.equal((await ask('/compute')).json().versions[0].id, 'v2.1')
  for (const url of ['/compute/v2.1', '/compute/v2.1/']) {
    const { version } = (await ask(url)).json()
    assert.deepEqual([version.id, version.status, version.min_version], ['v2.1', 'CURRENT', '2.1'])
    assert.equal(version.links[0].href, 'http://localhost:80/compute/v2.1/')
  }
  const choices = await ask('/compute/servers')
  assert.equal(choices.statusCode, 300)
  assert.equal(choices.json().choices[0].links[0].href, 'http://localhost:80/compute/v2.1/servers')
  const refused = await ask('/compute/v2.1/servers')
  assert.equal(refused.statusCode, 401)
  assert.match(String(refused.headers['www-authenticate']), /\/identity/)
})

test('flavors, keypairs, zones, limits and cards answer under Nova too', async () => {
  await using cloud = await testCloud({ servers: { web: {} } })
  const { member, admin } = cloud
  const flavors = (await member.get(nova(member, '/flavors/detail'))).json()
  assert.ok(flavors.flavors.length > 0)
  const made = await member.post(nova(member, '/os-keypairs'), { keypair: { name: 'mine' } })
  assert.equal(made.statusCode, 200)
  assert.equal(
    (await member.post(nova(member, '/os-keypairs'), { keypair: { name: 'x', type: 'ssh' } })).statusCode,
    400,
  )
  assert.equal((await member.delete(nova(member, '/os-keypairs/mine'))).statusCode, 202)
  const zones = (await member.get(nova(member, '/os-availability-zone'))).json()
  assert.deepEqual(zones, {
    availabilityZoneInfo: [{ zoneName: 'nova', zoneState: { available: true }, hosts: null }],
  })
  assert.equal((await member.get(nova(member, '/os-availability-zone/detail'))).statusCode, 403)
  const detailed = (await admin.get(nova(admin, '/os-availability-zone/detail'))).json()
  assert.equal(detailed.availabilityZoneInfo[0].hosts['test-host']['nova-compute'].available, true)
  const limits = (await member.get(nova(member, '/limits'))).json()
  assertSameShape(limits, sample('limit-get-resp'))
  assert.equal(limits.limits.absolute.totalInstancesUsed, 1)
  const cards = (await member.get(nova(member, `/servers/${cloud.id.web}/os-interface`))).json()
  assert.equal(cards.interfaceAttachments.length, 1)
})

test('flavors have no extra specs, and those that are not there are 404', async () => {
  await using cloud = await testCloud()
  const { member } = cloud
  const { flavors } = (await member.get(nova(member, '/flavors'))).json()
  const specs = await member.get(nova(member, `/flavors/${flavors[0].id}/os-extra_specs`))
  assert.deepEqual([specs.statusCode, specs.json()], [200, { extra_specs: {} }])
  assert.equal((await member.get(nova(member, '/flavors/none/os-extra_specs'))).statusCode, 404)
})

test('a volume is attached, listed and detached with the statuses of Nova', async () => {
  await using cloud = await testCloud({ servers: { web: {} } })
  const { member } = cloud
  const volume = await addVolume(cloud)
  const path = nova(member, `/servers/${cloud.id.web}/os-volume_attachments`)
  const unknown = await member.post(path, { volumeAttachment: { volumeId: volume, delete_on_termination: true } })
  assert.equal(unknown.statusCode, 400)
  const attached = await member.post(path, { volumeAttachment: { volumeId: volume, device: null } })
  assert.equal(attached.statusCode, 200, attached.body)
  await cloud.settled()
  const shown = { id: volume, volumeId: volume, serverId: cloud.id.web, device: '/dev/vdb' }
  assert.deepEqual((await member.get(path)).json(), { volumeAttachments: [shown] })
  assert.deepEqual((await member.get(`${path}/${volume}`)).json(), { volumeAttachment: shown })
  const stranger = await cloud.stranger()
  assert.equal((await stranger.get(path)).statusCode, 404)
  assert.equal((await stranger.delete(`${path}/${volume}`)).statusCode, 404)
  assert.equal((await member.put(`${path}/${volume}`, { volumeAttachment: { volumeId: volume } })).statusCode, 405)
  assert.equal((await member.delete(`${path}/${volume}`)).statusCode, 202)
  await cloud.settled()
  assert.deepEqual((await member.get(path)).json(), { volumeAttachments: [] })
})
