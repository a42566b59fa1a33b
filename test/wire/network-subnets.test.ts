/** N08 to N13, in both dialects. */
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
  'network_id',
  'tenant_id',
  'cidr',
  'ip_version',
  'gateway_ip',
  'allocation_pools',
  'dns_nameservers',
  'host_routes',
  'enable_dhcp',
  'shared',
  'ipv6_ra_mode',
  'ipv6_address_mode',
]

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database })
    const newNetwork = async () => {
      const client = await shared().stranger()
      const { id } = await make(client, 'networks', { name: 'net' })
      const post = (wish: Body) =>
        client.post(`${neutron}/subnets`, { subnet: { network_id: id, ip_version: 4, ...wish } })
      const add = (wish: Body) => make(client, 'subnets', { network_id: id, ip_version: 4, ...wish })
      return { client, id, post, add }
    }

    test('N09 N10 N08: a subnet has the first address as gateway and the rest as pool', async () => {
      const { client, id } = await newNetwork()
      const wish = { subnet: { network_id: id, ip_version: 4, cidr: '10.0.1.0/24' } }
      const { subnet } = bodyOf(await client.post(`${uos}/subnets`, wish), 201)
      assert.deepEqual(Object.keys(subnet).sort(), UOS_MEMBERS.toSorted())
      assert.deepEqual(
        { ...subnet, id: '' },
        {
          id: '',
          name: '',
          network_id: id,
          tenant_id: client.projectId,
          cidr: '10.0.1.0/24',
          ip_version: 4,
          gateway_ip: '10.0.1.1',
          allocation_pools: [{ start: '10.0.1.2', end: '10.0.1.254' }],
          dns_nameservers: [],
          host_routes: [],
          enable_dhcp: true,
          shared: false,
          ipv6_ra_mode: null,
          ipv6_address_mode: null,
        },
      )
      const shown = bodyOf(await client.get(`${uos}/subnets/${subnet.id}`), 200).subnet
      assert.deepEqual(Object.keys(shown).sort(), [...UOS_MEMBERS, 'created_at'].sort())
      const { subnets } = bodyOf(await client.get(`${uos}/subnets`), 200)
      assert.deepEqual(
        subnets.map((one: Body) => [one.name, one.shared]),
        [
          ['shared_subnet', true],
          ['', false],
        ],
      )
      assert.deepEqual((await client.get(`${uos}/networks/${id}`)).json().network.subnets, [subnet.id])
    })

    test('everything that may be said of a subnet is kept, in its canonical form', async () => {
      const { add } = await newNetwork()
      const subnet = await add({
        name: 'all',
        cidr: '10.0.1.77/24',
        gateway_ip: '10.0.1.254',
        allocation_pools: [
          { start: '10.0.1.100', end: '10.0.1.110' },
          { start: '10.0.1.10', end: '10.0.1.20' },
        ],
        dns_nameservers: ['192.0.2.1', '2001:DB8::1'],
        host_routes: [{ destination: '10.9.9.9/16', nexthop: '10.0.1.5' }],
        enable_dhcp: false,
      })
      assert.deepEqual(
        [subnet.cidr, subnet.gateway_ip, subnet.allocation_pools, subnet.dns_nameservers, subnet.host_routes],
        [
          '10.0.1.0/24',
          '10.0.1.254',
          [
            { start: '10.0.1.10', end: '10.0.1.20' },
            { start: '10.0.1.100', end: '10.0.1.110' },
          ],
          ['192.0.2.1', '2001:db8::1'],
          [{ destination: '10.9.0.0/16', nexthop: '10.0.1.5' }],
        ],
      )
      const open = await add({ cidr: '10.0.2.0/29', gateway_ip: null, enable_dhcp: false })
      assert.deepEqual([open.gateway_ip, open.allocation_pools], [null, [{ start: '10.0.2.1', end: '10.0.2.6' }]])
      const middle = await add({ cidr: '10.0.3.0/29', gateway_ip: '10.0.3.3', enable_dhcp: false })
      assert.deepEqual(middle.allocation_pools, [
        { start: '10.0.3.1', end: '10.0.3.2' },
        { start: '10.0.3.4', end: '10.0.3.6' },
      ])
      const six = await add({ ip_version: 6, cidr: 'FD00::5/64', ipv6_ra_mode: 'slaac', ipv6_address_mode: 'slaac' })
      assert.deepEqual(
        [six.cidr, six.gateway_ip, six.allocation_pools, six.ipv6_ra_mode, six.ipv6_address_mode],
        ['fd00::/64', 'fd00::1', [{ start: 'fd00::2', end: 'fd00::ffff:ffff:ffff:ffff' }], 'slaac', 'slaac'],
      )
    })

    test('Neutron shows a subnet as its own sample has it', async () => {
      const { add } = await newNetwork()
      const { segment_id, dns_publish_fixed_ip, 'router:external': _, ...sample } = readSample('subnet-create').subnet
      assertSameShape(await add({ cidr: '10.0.1.0/24' }), sample)
    })

    test('subnets are made on own networks only; foreign ones are not there', async () => {
      const cloud = shared()
      const { client, id, add } = await newNetwork()
      const subnet = await add({ cidr: '10.0.0.0/24' })
      const stranger = await cloud.stranger()
      const before = await countRows(cloud)
      const wish = (network_id: string) => ({ subnet: { network_id, ip_version: 4, cidr: '10.3.0.0/24' } })
      const bgp = (await client.get(`${uos}/networks?name=BGP`)).json().networks[0].id
      assertNetworkError(await stranger.post(`${uos}/subnets`, wish(id)), 404, 'NetworkNotFound')
      assertNetworkError(await stranger.post(`${uos}/subnets`, wish(SHARED)), 403, 'PolicyNotAuthorized')
      assertNetworkError(await stranger.post(`${uos}/subnets`, wish(bgp)), 403, 'PolicyNotAuthorized')
      for (const answer of [
        await stranger.get(`${uos}/subnets/${subnet.id}`),
        await stranger.put(`${uos}/subnets/${subnet.id}`, { subnet: { name: 'mine' } }),
        await stranger.delete(`${uos}/subnets/${subnet.id}`),
      ]) {
        assertNetworkError(answer, 404, 'SubnetNotFound')
      }
      const foreign = { subnet: { ...wish(id).subnet, tenant_id: stranger.projectId } }
      assertNetworkError(await client.post(`${neutron}/subnets`, foreign), 403, 'PolicyNotAuthorized')
      assert.deepEqual(await countRows(cloud), before)
      const made = await make(cloud.admin, 'subnets', foreign.subnet)
      assert.equal(made.tenant_id, stranger.projectId)
      bodyOf(await cloud.admin.delete(`${neutron}/subnets/${made.id}`), 204)
    })

    test('two overlapping subnets made at once: one of them is there', async () => {
      const { client, id, post } = await newNetwork()
      const answers = await Promise.all(['10.0.0.0/24', '10.0.0.0/25', '10.0.0.0/26'].map((cidr) => post({ cidr })))
      assert.deepEqual(answers.map(({ statusCode }) => statusCode).sort(), [201, 400, 400])
      assert.equal((await client.get(`${neutron}/networks/${id}`)).json().network.subnets.length, 1)
    })

    test('several are made at once', async () => {
      const { client, id } = await newNetwork()
      const subnets = ['10.0.0.0/24', '10.0.1.0/24'].map((cidr) => ({ network_id: id, ip_version: '4', cidr }))
      const made = bodyOf(await client.post(`${neutron}/subnets`, { subnets }), 201)
      assert.deepEqual(
        made.subnets.map(({ cidr }: Body) => cidr),
        ['10.0.0.0/24', '10.0.1.0/24'],
      )
    })

    test('N11 N12: a subnet is renamed, and its DHCP is switched off and on', async () => {
      const cloud = shared()
      const { client, id, add } = await newNetwork()
      const subnet = await add({ cidr: '10.0.0.0/24' })
      await createServer(cloud, { networks: [{ uuid: id }] }, client)
      const put = async (change: Body) =>
        bodyOf(await client.put(`${uos}/subnets/${subnet.id}`, { subnet: change }), 200)
      const served = () => cloud.machine.networks.get(id)?.subnets[0]?.dhcpAddress
      assert.equal((await put({ name: 'sub' })).subnet.name, 'sub')
      assert.deepEqual(await dhcpAddresses(client, id), ['10.0.0.2'])
      assert.equal(served(), '10.0.0.2')
      assert.equal((await put({ enable_dhcp: 'False' })).subnet.enable_dhcp, false)
      await cloud.settled()
      assert.deepEqual(await dhcpAddresses(client, id), undefined)
      assert.equal(served(), null)
      assert.equal((await put({ enable_dhcp: true })).subnet.enable_dhcp, true)
      await cloud.settled()
      const [again] = (await dhcpAddresses(client, id)) ?? []
      assert.equal(served(), again)
    })

    test('pools, gateway, name servers and routes change, and the host hears of it', async () => {
      const cloud = shared()
      const { client, id, add } = await newNetwork()
      const subnet = await add({ cidr: '10.0.0.0/24' })
      await createServer(cloud, { networks: [{ uuid: id }] }, client)
      const change = {
        gateway_ip: '10.0.0.254',
        allocation_pools: [{ start: '10.0.0.50', end: '10.0.0.60' }],
        dns_nameservers: ['192.0.2.53'],
        host_routes: [{ destination: '10.8.0.0/16', nexthop: '10.0.0.9' }],
        description: 'changed',
      }
      const changed = bodyOf(await client.put(`${neutron}/subnets/${subnet.id}`, { subnet: change }), 200).subnet
      for (const [member, value] of Object.entries(change)) assert.deepEqual(changed[member], value, member)
      assert.equal(changed.revision_number, 1)
      await cloud.settled()
      const plan = cloud.machine.networks.get(id)?.subnets[0]
      assert.deepEqual(
        [plan?.gatewayIp, plan?.dnsNameservers, plan?.hostRoutes],
        [change.gateway_ip, change.dns_nameservers, change.host_routes],
      )
      const put = (wish: Body) => client.put(`${neutron}/subnets/${subnet.id}`, { subnet: wish })
      for (const [wish, status, type] of [
        [{ gateway_ip: '10.0.0.55' }, 409, 'GatewayConflictWithAllocationPools'],
        [{ gateway_ip: '10.9.0.1' }, 400, 'InvalidInput'],
        [{ allocation_pools: [{ start: '10.0.0.250', end: '10.0.0.254' }] }, 409, 'GatewayConflictWithAllocationPools'],
        [{ cidr: '10.0.0.0/25' }, 400, 'HTTPBadRequest'],
        [{ network_id: SHARED }, 400, 'HTTPBadRequest'],
        [{ enable_dhcp: null }, 400, 'HTTPBadRequest'],
      ] as const) {
        assertNetworkError(await put(wish), status, type, JSON.stringify(wish))
      }
      assert.equal(bodyOf(await put({ gateway_ip: null }), 200).subnet.gateway_ip, null)
    })

    test('a gateway cannot be an address that a card has', async () => {
      const { client, id, add } = await newNetwork()
      const subnet = await add({ cidr: '10.0.0.0/24', allocation_pools: [{ start: '10.0.0.10', end: '10.0.0.20' }] })
      const fixed_ips = [{ subnet_id: subnet.id, ip_address: '10.0.0.200' }]
      await make(client, 'ports', { network_id: id, fixed_ips })
      const answer = await client.put(`${neutron}/subnets/${subnet.id}`, { subnet: { gateway_ip: '10.0.0.200' } })
      assertNetworkError(answer, 409, 'IpAddressInUse')
    })

    test('N13: a subnet goes when no card has an address of it', async () => {
      const cloud = shared()
      const { client, id, add } = await newNetwork()
      const before = await countRows(cloud)
      const subnet = await add({ cidr: '10.0.0.0/24' })
      const port = await make(client, 'ports', { network_id: id, security_groups: [] })
      assertNetworkError(await client.delete(`${uos}/subnets/${subnet.id}`), 409, 'SubnetInUse')
      bodyOf(await client.delete(`${uos}/ports/${port.id}`), 204)
      bodyOf(await client.delete(`${uos}/subnets/${subnet.id}`), 204)
      assertNetworkError(await client.get(`${uos}/subnets/${subnet.id}`), 404, 'SubnetNotFound')
      assert.deepEqual(await countRows(cloud), before)
    })

    test('cards make themselves an address on a new SLAAC subnet, and lose it with the subnet', async () => {
      const { client, id, add } = await newNetwork()
      await add({ cidr: '10.0.0.0/24' })
      const port = await make(client, 'ports', { network_id: id })
      const addresses = async () =>
        (await client.get(`${neutron}/ports/${port.id}`)).json().port.fixed_ips.map((one: Body) => one.ip_address)
      const [four] = await addresses()
      const six = await add({ ip_version: 6, cidr: 'fd00:1::/64', ipv6_ra_mode: 'slaac', ipv6_address_mode: 'slaac' })
      const both = await addresses()
      assert.equal(both.length, 2)
      assert.match(both[1], /^fd00:1::[0-9a-f]+:[0-9a-f]{0,2}ff:fe[0-9a-f]{2}:[0-9a-f]+$/)
      bodyOf(await client.delete(`${neutron}/subnets/${six.id}`), 204)
      assert.deepEqual(await addresses(), [four])
    })
  })
}

/** An answer of Neutron; what is taken out of it are members of extensions that are not here. */
function readSample(name: string): Body {
  return JSON.parse(readFileSync(new URL(`../fixtures/network/${name}.json`, import.meta.url), 'utf8'))
}

/** Undefined when the network has no DHCP port. */
async function dhcpAddresses(client: Client, networkId: string): Promise<string[] | undefined> {
  const query = `network_id=${networkId}&device_owner=network:dhcp`
  const [port] = (await client.get(`${neutron}/ports?${query}`)).json().ports
  return port?.fixed_ips.map((one: Body) => one.ip_address)
}
