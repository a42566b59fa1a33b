/** What clients find out about the network API: versions, extensions, zones, quotas, and how full networks are. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { assertNetworkError, type Body, bodyOf, DIALECTS, make } from '../support/network-requests.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { type Answer, type Client, DATABASES, type TestCloud } from '../support/test-cloud.ts'

const { uos, neutron } = DIALECTS

/** What a network, a port, a router … must show for an extension to be true. */
const SHOWN: Record<string, [resource: string, member: string]> = {
  'allowed-address-pairs': ['port', 'allowed_address_pairs'],
  binding: ['port', 'binding:vnic_type'],
  'ext-gw-mode': ['router', 'external_gateway_info'],
  'external-net': ['network', 'router:external'],
  extra_dhcp_opt: ['port', 'extra_dhcp_opts'],
  extraroute: ['router', 'routes'],
  'fip-port-details': ['floatingip', 'port_details'],
  'expose-port-forwarding-in-fip': ['floatingip', 'port_forwardings'],
  'net-mtu': ['network', 'mtu'],
  network_availability_zone: ['network', 'availability_zones'],
  'port-security': ['port', 'port_security_enabled'],
  'project-id': ['network', 'project_id'],
  router_availability_zone: ['router', 'availability_zones'],
  'security-groups-normalized-cidr': ['security_group_rule', 'normalized_cidr'],
  'standard-attr-description': ['port', 'description'],
  'standard-attr-revisions': ['router', 'revision_number'],
  'standard-attr-tag': ['subnet', 'tags'],
  'standard-attr-timestamp': ['floatingip', 'updated_at'],
}

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database })

    test('versions and resources are told without a token, with and without a slash', async () => {
      const cloud = shared()
      for (const url of ['/network', '/network/']) {
        assert.deepEqual((await open(cloud, url)).json(), {
          versions: [
            { id: 'v2.0', status: 'CURRENT', links: [{ rel: 'self', href: 'http://cloud.example/network/v2.0/' }] },
          ],
        })
      }
      for (const url of ['/network/v2.0', '/network/v2.0/']) {
        const { resources } = (await open(cloud, url)).json()
        assert.deepEqual(resources[0], {
          name: 'network',
          collection: 'networks',
          links: [{ rel: 'self', href: 'http://cloud.example/network/v2.0/networks' }],
        })
        for (const { collection } of resources) {
          bodyOf(await cloud.member.get(`${neutron}/${collection}`), 200)
        }
      }
    })

    test('the list of extensions is true', async () => {
      const cloud = shared()
      const { member, admin } = cloud
      const { extensions } = bodyOf(await member.get(`${neutron}/extensions`), 200)
      const things = await makeAll(member, admin)
      const checks: Record<string, () => Promise<unknown>> = {
        availability_zone: async () => assert.ok((await list(member, 'availability_zones')).length > 0),
        'extraroute-atomic': () => putRoutes(member, things.router.id),
        'floating-ip-port-forwarding': async () =>
          bodyOf(await member.get(`${neutron}/floatingips/${things.floatingip.id}/port_forwardings`), 200),
        'ip-substring-filtering': async () => {
          const part = things.port.fixed_ips[0].ip_address.slice(1)
          assert.equal((await list(member, 'ports', `fixed_ips=ip_address_substr=${part}`))[0].id, things.port.id)
        },
        'net-mtu-writable': async () =>
          bodyOf(await member.put(`${neutron}/networks/${things.network.id}`, { network: { mtu: 1400 } }), 200),
        'network-ip-availability': async () => bodyOf(await admin.get(`${neutron}/network-ip-availabilities`), 200),
        pagination: async () => assert.equal((await list(member, 'networks', 'limit=1')).length, 1),
        provider: async () => {
          const { network } = (await admin.get(`${neutron}/networks/${things.network.id}`)).json()
          assert.ok(Object.hasOwn(network, 'provider:network_type'))
        },
        quotas: async () => bodyOf(await member.get(`${neutron}/quotas/${member.projectId}`), 200),
        quota_details: async () => bodyOf(await member.get(`${neutron}/quotas/${member.projectId}/details.json`), 200),
        'revision-if-match': async () => {
          const url = `${neutron}/networks/${things.network.id}`
          const headers = { 'if-match': 'revision_number=999' }
          const answer = await member.request({ method: 'PUT', url, payload: { network: { name: 'x' } }, headers })
          assertNetworkError(answer, 409, 'RevisionNumberConstraintFailed')
        },
        router: async () => assert.ok(things.router),
        'security-group': async () => assert.ok((await list(member, 'security-groups')).length > 0),
        sorting: async () => {
          const names = (await list(member, 'networks', 'sort_key=name&sort_dir=desc')).map(({ name }) => name)
          assert.deepEqual(names, names.toSorted().reverse())
        },
        'tag-ports-during-bulk-creation': async () => {
          const ports = [{ network_id: things.network.id, tags: ['red'] }]
          const made = bodyOf(await member.post(`${neutron}/ports`, { ports }), 201)
          assert.deepEqual(made.ports[0].tags, ['red'])
        },
      }
      for (const { alias, name, links } of extensions) {
        assert.deepEqual([typeof name, links], ['string', []])
        const [resource, member] = SHOWN[alias] ?? []
        if (resource) assert.ok(Object.hasOwn(things[resource], member ?? ''), alias)
        else {
          const check = checks[alias]
          assert.ok(check, `nothing here knows whether ${alias} is true`)
          await check()
        }
      }
    })

    test('one extension is shown by its alias, and not by its name', async () => {
      const { member } = shared()
      const { extension } = bodyOf(await member.get(`${neutron}/extensions/availability_zone`), 200)
      assert.equal(extension.name, 'Availability Zone')
      assertNetworkError(await member.get(`${neutron}/extensions/Availability%20Zone`), 404, 'ExtensionNotFound')
      assertNetworkError(await member.get(`${neutron}/extensions/qos`), 404, 'ExtensionNotFound')
    })

    test('zones are those of the hosts, for networks and for routers', async () => {
      const { member } = shared()
      assert.deepEqual(await list(member, 'availability_zones'), [
        { name: 'nova', resource: 'network', state: 'available' },
        { name: 'nova', resource: 'router', state: 'available' },
      ])
      assert.equal((await list(member, 'availability_zones', 'resource=router')).length, 1)
    })

    test('what is not here has empty lists, or is not found', async () => {
      const { member, admin } = shared()
      for (const path of ['subnetpools', 'rbac-policies', 'service-providers']) {
        assert.deepEqual(await list(member, path), [])
      }
      assert.deepEqual(await list(admin, 'agents'), [])
      assert.equal((await member.get(`${neutron}/agents`)).statusCode, 403)
      assert.equal((await member.get(`${neutron}/address-scopes`)).statusCode, 404)
    })

    test('quotas are read by their project and set by admins', async () => {
      const cloud = shared()
      const [client, other] = [await cloud.stranger(), await cloud.stranger()]
      const path = `${neutron}/quotas/${client.projectId}`
      const usual = bodyOf(await client.get(`${path}/default`), 200).quota
      assert.deepEqual(usual, {
        network: 100,
        subnet: 100,
        subnetpool: -1,
        port: 500,
        router: 10,
        floatingip: 50,
        security_group: 10,
        security_group_rule: 100,
        rbac_policy: 10,
      })
      assert.deepEqual(bodyOf(await client.get(path), 200).quota, usual)
      assertNetworkError(await other.get(path), 403, 'PolicyNotAuthorized')
      assert.equal((await client.put(path, { quota: { network: 1 } })).statusCode, 403)
      assert.equal((await client.delete(path)).statusCode, 403)
      assert.equal((await client.get(`${neutron}/quotas`)).statusCode, 403)

      const set = bodyOf(await cloud.admin.put(path, { quota: { network: '1', port: -1 } }), 200).quota
      assert.deepEqual(set, { ...usual, network: 1, port: -1 })
      assert.equal(bodyOf(await cloud.admin.put(path, { quota: { network: 2 } }), 200).quota.network, 2)
      await make(client, 'networks', {})
      const details = bodyOf(await client.get(`${path}/details.json`), 200).quota
      assert.deepEqual(details.network, { limit: 2, used: 1, reserved: 0 })
      const all = bodyOf(await cloud.admin.get(`${neutron}/quotas`), 200).quotas
      assert.equal(all.find((one: Body) => one.project_id === client.projectId).network, 2)
      for (const body of [{ quota: { network: -2 } }, { quota: { network: 'x' } }, { quota: { moons: 1 } }, {}, []]) {
        assertNetworkError(await cloud.admin.put(path, body), 400, 'HTTPBadRequest', JSON.stringify(body))
      }
      bodyOf(await cloud.admin.delete(path), 204)
      assert.deepEqual(bodyOf(await client.get(path), 200).quota, usual)
    })

    test('admins see how full networks are', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const { id } = await make(client, 'networks', { name: 'full' })
      const subnet = await make(client, 'subnets', { network_id: id, ip_version: 4, cidr: '10.0.0.0/29' })
      await make(client, 'ports', { network_id: id })
      const path = `${neutron}/network-ip-availabilities`
      const { network_ip_availability: one } = bodyOf(await cloud.admin.get(`${path}/${id}`), 200)
      assert.deepEqual(one, {
        network_id: id,
        network_name: 'full',
        tenant_id: client.projectId,
        project_id: client.projectId,
        total_ips: 5,
        used_ips: 2,
        subnet_ip_availability: [
          { subnet_id: subnet.id, subnet_name: '', cidr: '10.0.0.0/29', ip_version: 4, total_ips: 5, used_ips: 2 },
        ],
      })
      const found = bodyOf(await cloud.admin.get(`${path}?network_name=full`), 200).network_ip_availabilities
      assert.deepEqual(found, [one])
      assert.equal((await client.get(path)).statusCode, 403)
    })

    test('the version may be named twice, and paths may end in .json', async () => {
      const { member } = shared()
      bodyOf(await member.get('//network/v2.0/v2.0/networks.json?name=shared'), 200)
      bodyOf(await member.get(`${uos}/extensions.json`), 200)
    })
  })
}

const open = (cloud: TestCloud, url: string): Promise<Answer> =>
  cloud.app.inject({ method: 'GET', url, headers: { host: 'cloud.example' } })

async function list(client: Client, path: string, query = ''): Promise<Body[]> {
  const body = bodyOf(await client.get(`${neutron}/${path}?${query}`), 200)
  return body[path.replaceAll('-', '_')]
}

/** One of each kind, as its owner sees it. */
async function makeAll(member: Client, admin: Client): Promise<Record<string, Body>> {
  const [outside] = await list(admin, 'networks', 'name=BGP')
  const network = await make(member, 'networks', {})
  const subnet = await make(member, 'subnets', { network_id: network.id, ip_version: 4, cidr: '10.77.0.0/24' })
  const port = await make(member, 'ports', { network_id: network.id })
  const router = await make(member, 'routers', { external_gateway_info: { network_id: outside.id } })
  const floatingip = await make(member, 'floatingips', { floating_network_id: outside.id })
  const [security_group_rule] = await list(member, 'security-group-rules')
  return { network, subnet, port, router, floatingip, security_group_rule }
}

async function putRoutes(client: Client, routerId: string): Promise<void> {
  bodyOf(await client.put(`${neutron}/routers/${routerId}/add_extraroutes`, { router: { routes: [] } }), 200)
}
