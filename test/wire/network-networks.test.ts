/** N01 to N07 and deleting networks, in both dialects. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { countRows } from '../support/count-rows.ts'
import { createServer, SHARED } from '../support/create-servers.ts'
import { assertNetworkError, type Body, bodyOf, DIALECTS, make } from '../support/network-requests.ts'
import { assertSameShape } from '../support/same-shape.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { type Client, DATABASES } from '../support/test-cloud.ts'

const { uos, neutron } = DIALECTS
const UOS_MEMBERS = [
  'id',
  'name',
  'status',
  'admin_state_up',
  'subnets',
  'shared',
  'tenant_id',
  'provider:unmanaged_network',
]
const UOS_LATER = ['router:external', 'uos:rate_limit', 'created_at']

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database })

    test('N02 N04 N01: a network is made, shown and listed as UOS has it', async () => {
      const client = await shared().stranger()
      const { network } = bodyOf(await client.post(`${uos}/networks`, { network: { name: 'net1' } }), 201)
      assert.deepEqual(Object.keys(network).sort(), UOS_MEMBERS.toSorted())
      assert.deepEqual(
        [network.name, network.status, network.admin_state_up, network.subnets, network.shared, network.tenant_id],
        ['net1', 'ACTIVE', true, [], false, client.projectId],
      )
      const shown = bodyOf(await client.get(`${uos}/networks/${network.id}`), 200).network
      assert.deepEqual(Object.keys(shown).sort(), [...UOS_MEMBERS, ...UOS_LATER].sort())
      assert.match(shown.created_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}$/)
      assert.equal(shown['uos:rate_limit'], 600)
      const { networks } = bodyOf(await client.get(`${uos}/networks`), 200)
      assert.deepEqual(networks.map(({ name }: Body) => name).sort(), ['BGP', 'net1', 'shared'])
    })

    test('N03: a network that its tenant manages has no DHCP service of ours', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const wish = { network: { name: 'own', 'provider:unmanaged_network': true } }
      const { network } = bodyOf(await client.post(`${uos}/networks`, wish), 201)
      assert.equal(network['provider:unmanaged_network'], true)
      await make(client, 'subnets', { network_id: network.id, ip_version: 4, cidr: '10.0.0.0/24' })
      assert.deepEqual((await client.get(`${neutron}/ports?network_id=${network.id}`)).json().ports ?? [], [])
    })

    test('N05 N06 N07: a network is renamed, disabled and enabled', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const { id } = await make(client, 'networks', { name: 'before' })
      const put = async (network: Body) => bodyOf(await client.put(`${uos}/networks/${id}`, { network }), 200).network
      assert.equal((await put({ name: 'after' })).name, 'after')
      assert.equal((await put({ admin_state_up: 'False' })).admin_state_up, false)
      assert.equal((await put({ admin_stat_up: 'True' })).admin_state_up, true)
      const { network } = (await client.get(`${neutron}/networks/${id}`)).json()
      assert.deepEqual([network.name, network.admin_state_up, network.revision_number], ['after', true, 3])
    })

    test('what a disabled network has on the host is disabled, too', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const network = await make(client, 'networks', {})
      await make(client, 'subnets', { network_id: network.id, ip_version: 4, cidr: '10.0.0.0/24' })
      await createServer(cloud, { networks: [{ uuid: network.id }] }, client)
      const isUp = () => cloud.machine.networks.get(network.id)?.isUp
      assert.equal(isUp(), true)
      await client.put(`${uos}/networks/${network.id}`, { network: { admin_state_up: false } })
      await cloud.settled()
      assert.equal(isUp(), false)
    })

    test('Neutron shows what clients branch on, and provider attributes to admins', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const wish = { name: 'n', description: 'd', mtu: 1400, port_security_enabled: false, availability_zone_hints: [] }
      const network = await make(client, 'networks', wish)
      assert.deepEqual(
        { ...network, id: '', created_at: '', updated_at: '' },
        {
          id: '',
          tenant_id: client.projectId,
          project_id: client.projectId,
          name: 'n',
          description: 'd',
          created_at: '',
          updated_at: '',
          revision_number: 0,
          tags: [],
          status: 'ACTIVE',
          subnets: [],
          admin_state_up: true,
          shared: false,
          'router:external': false,
          is_default: false,
          mtu: 1400,
          port_security_enabled: false,
          availability_zones: ['nova'],
          availability_zone_hints: [],
          ipv4_address_scope: null,
          ipv6_address_scope: null,
          qos_policy_id: null,
        },
      )
      const seen = (await cloud.admin.get(`${neutron}/networks/${network.id}`)).json().network
      assert.equal(seen['provider:network_type'], 'local')
    })

    test('Neutron shows a network as its own sample has it', async () => {
      const { dns_domain, l2_adjacency, pvlan, vlan_transparent, qinq, qos_policy_id, ...sample } = JSON.parse(
        readFileSync(new URL('../fixtures/network/network-create.json', import.meta.url), 'utf8'),
      ).network
      const { qos_policy_id: none, ...network } = await make(await shared().stranger(), 'networks', {})
      assert.equal(none, null)
      assertSameShape(network, sample)
    })

    test('several are made at once, or none', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const made = bodyOf(await client.post(`${neutron}/networks`, { networks: [{ name: 'a' }, { name: 'b' }] }), 201)
      assert.deepEqual(
        made.networks.map(({ name }: Body) => name),
        ['a', 'b'],
      )
      const before = await countRows(cloud)
      const wrong = { networks: [{ name: 'c' }, { name: 'd', shared: true }] }
      assertNetworkError(await client.post(`${neutron}/networks`, wrong), 403, 'PolicyNotAuthorized')
      assert.deepEqual(await countRows(cloud), before)
    })

    test("another project's network is not there; a shared one can be seen and not changed", async () => {
      const cloud = shared()
      const [owner, stranger, reader] = [await cloud.stranger(), await cloud.stranger(), await cloud.stranger('reader')]
      const { id } = await make(owner, 'networks', {})
      const before = await countRows(cloud)
      for (const prefix of [uos, neutron]) {
        assertNetworkError(await stranger.get(`${prefix}/networks/${id}`), 404, 'NetworkNotFound')
        const body = { network: { name: 'mine' } }
        assertNetworkError(await stranger.put(`${prefix}/networks/${id}`, body), 404, 'NetworkNotFound')
        assertNetworkError(await stranger.delete(`${prefix}/networks/${id}`), 404, 'NetworkNotFound')
        assertNetworkError(await stranger.put(`${prefix}/networks/${SHARED}`, body), 403, 'PolicyNotAuthorized')
        assertNetworkError(await stranger.delete(`${prefix}/networks/${SHARED}`), 403, 'PolicyNotAuthorized')
        assertNetworkError(await stranger.get(`${prefix}/networks/shared`), 404, 'NetworkNotFound')
      }
      assertNetworkError(await reader.post(`${neutron}/networks`, { network: {} }), 403, 'Forbidden' as never)
      assert.deepEqual(await countRows(cloud), before)
    })

    test('what only an admin decides is refused to members, and given to admins', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const { id } = await make(client, 'networks', { shared: false, 'router:external': 'False' })
      for (const change of [{ shared: true }, { 'router:external': true }, { is_default: true }]) {
        assertNetworkError(
          await client.put(`${neutron}/networks/${id}`, { network: change }),
          403,
          'PolicyNotAuthorized',
        )
        assertNetworkError(await client.post(`${neutron}/networks`, { network: change }), 403, 'PolicyNotAuthorized')
      }
      const foreign = { network: { tenant_id: cloud.member.projectId } }
      assertNetworkError(await client.post(`${neutron}/networks`, foreign), 403, 'PolicyNotAuthorized')
      const made = await make(cloud.admin, 'networks', { tenant_id: client.projectId, shared: true })
      assert.deepEqual([made.tenant_id, made.shared], [client.projectId, true])
      assertNetworkError(
        await client.put(`${neutron}/networks/${made.id}`, { network: { shared: false } }),
        403,
        'PolicyNotAuthorized',
      )
      bodyOf(await cloud.admin.delete(`${neutron}/networks/${made.id}`), 204)
    })

    test('a network that others use stays shared, and one with ports stays on its side', async () => {
      const cloud = shared()
      const [owner, guest] = [await cloud.stranger(), await cloud.stranger()]
      const network = await make(owner, 'networks', {})
      await make(owner, 'subnets', { network_id: network.id, ip_version: 4, cidr: '10.1.0.0/24' })
      const put = (change: Body) => cloud.admin.put(`${neutron}/networks/${network.id}`, { network: change })
      bodyOf(await put({ shared: true }), 200)
      const port = await make(guest, 'ports', { network_id: network.id })
      assertNetworkError(await put({ shared: false }), 409, 'InvalidSharedSetting')
      assertNetworkError(await put({ 'router:external': true }), 409, 'NetworkInUse')
      bodyOf(await guest.delete(`${neutron}/ports/${port.id}`), 204)
      bodyOf(await put({ shared: false }), 200)
      bodyOf(await put({ 'router:external': true }), 200)
      assert.deepEqual((await owner.get(`${neutron}/ports?network_id=${network.id}`)).json().ports, [])
    })

    test('a network in use is not deleted; an unused one goes with its subnets and its DHCP port', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const before = await countRows(cloud)
      const network = await make(client, 'networks', {})
      const subnet = await make(client, 'subnets', { network_id: network.id, ip_version: 4, cidr: '10.1.0.0/24' })
      await client.put(`${neutron}/subnets/${subnet.id}/tags`, { tags: ['red'] })
      await client.put(`${neutron}/networks/${network.id}/tags`, { tags: ['blue'] })
      const port = await make(client, 'ports', { network_id: network.id, security_groups: [] })
      assertNetworkError(await client.delete(`${uos}/networks/${network.id}`), 409, 'NetworkInUse')
      bodyOf(await client.delete(`${neutron}/ports/${port.id}`), 204)
      bodyOf(await client.delete(`${uos}/networks/${network.id}`), 204)
      assertNetworkError(await client.get(`${uos}/networks/${network.id}`), 404, 'NetworkNotFound')
      assert.deepEqual(await countRows(cloud), before)
    })

    test('a resource has fifty tags and no more', async () => {
      const client = await shared().stranger()
      const place = `${neutron}/networks/${(await make(client, 'networks', {})).id}/tags`
      const tags = Array.from({ length: 50 }, (_, index) => `tag-${index}`)
      bodyOf(await client.put(place, { tags }), 200)
      assertNetworkError(await client.put(place, { tags: [...tags, 'more'] }), 400, 'HTTPBadRequest')
      assertNetworkError(await client.put(`${place}/more`, {}), 400, 'HTTPBadRequest')
      assert.equal((await client.put(`${place}/tag-7`, {})).statusCode, 201)
      assert.equal(bodyOf(await client.get(place), 200).tags.length, 50)
    })

    test('wrong bodies are refused and change nothing', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const before = await countRows(cloud)
      for (const body of [
        {},
        { network: 7 },
        { network: { name: 7 } },
        { network: { name: 'x'.repeat(256) } },
        { network: { mtu: 67 } },
        { network: { mtu: 1451 } },
        { network: { admin_state_up: 'maybe' } },
        { network: { id: SHARED } },
        { network: { colour: 'red' } },
        { network: { dns_domain: 'example.org.' } },
        { networks: [] },
        { networks: [7] },
      ]) {
        assertNetworkError(await client.post(`${neutron}/networks`, body), 400, 'HTTPBadRequest', JSON.stringify(body))
      }
      assert.deepEqual(await countRows(cloud), before)
    })

    test('no more networks than the quota has room for', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      await cloud.cloud.db.transaction((tx) =>
        tx.insertInto('networkQuotas').values({ projectId: client.projectId, resource: 'network', most: 2 }).execute(),
      )
      await make(client, 'networks', {})
      const before = await countRows(cloud)
      assertNetworkError(await client.post(`${neutron}/networks`, { networks: [{}, {}] }), 409, 'OverQuota')
      assert.deepEqual(await countRows(cloud), before)
      await make(client, 'networks', {})
    })

    test('zones are those of hosts, and IPv6 needs packets of 1280 bytes', async () => {
      const client = await shared().stranger()
      const zone = (name: string) => ({ network: { availability_zone_hints: [name] } })
      bodyOf(await client.post(`${neutron}/networks`, zone('nova')), 201)
      assertNetworkError(await client.post(`${neutron}/networks`, zone('moon')), 404, 'AvailabilityZoneNotFound')
      const { id } = await make(client, 'networks', { mtu: 1279 })
      const six = { subnet: { network_id: id, ip_version: 6, cidr: 'fd00::/64' } }
      const put = (mtu: number) => client.put(`${neutron}/networks/${id}`, { network: { mtu } })
      assertNetworkError(await client.post(`${neutron}/subnets`, six), 400, 'InvalidInput')
      bodyOf(await put(1280), 200)
      bodyOf(await client.post(`${neutron}/subnets`, six), 201)
      assertNetworkError(await put(1279), 400, 'InvalidInput')
    })

    test('lists are filtered, sorted, trimmed and paged', async () => {
      const client = await shared().stranger()
      const ids: string[] = []
      for (const name of ['c', 'a', 'b']) ids.push((await make(client, 'networks', { name, description: 'paged' })).id)
      const list = async (query: string) => (await client.get(`${neutron}/networks?${query}`)).json()
      const names = async (query: string) => (await list(query)).networks.map(({ name }: Body) => name)
      assert.deepEqual(await names('description=paged&sort_key=name&sort_dir=desc'), ['c', 'b', 'a'])
      assert.deepEqual(await names(`id=${ids[0]}&id=${ids[2]}&sort_key=name`), ['b', 'c'])
      assert.deepEqual(await names('name=a&name=b&name=none&sort_key=name'), ['a', 'b'])
      assert.deepEqual((await list('name=a&fields=id&fields=name')).networks, [{ id: ids[1], name: 'a' }])
      const first = await list('description=paged&limit=2')
      assert.equal(first.networks.length, 2)
      const { href } = first.networks_links.find(({ rel }: Body) => rel === 'next')
      assert.deepEqual(
        (await get(client, href)).networks.map(({ id }: Body) => id),
        ids.toSorted().slice(2),
      )
    })
  })
}

async function get(client: Client, href: string): Promise<Body> {
  const { pathname, search } = new URL(href)
  return (await client.get(`/${pathname}${search}`)).json()
}
