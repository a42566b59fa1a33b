/** What is refused of ports, and that nothing fails inside whatever is sent. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { countRows } from '../support/count-rows.ts'
import { createServer, SHARED } from '../support/create-servers.ts'
import { assertNetworkError, type Body, bodyOf, DIALECTS, make } from '../support/network-requests.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { DATABASES } from '../support/test-cloud.ts'

const { uos, neutron } = DIALECTS
const NOBODY = '00000000-0000-4000-8000-000000000000'

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database })
    const newNetwork = async () => {
      const client = await shared().stranger()
      const { id } = await make(client, 'networks', { name: 'net' })
      const subnet = await make(client, 'subnets', { network_id: id, ip_version: 4, cidr: '10.0.0.0/24' })
      const post = (wish: Body) => client.post(`${neutron}/ports`, { port: { network_id: id, ...wish } })
      const port = await make(client, 'ports', { network_id: id, fixed_ips: [{ ip_address: '10.0.0.9' }] })
      return { client, id, subnet, post, port }
    }

    test('what a port cannot be is refused with its reason, and changes nothing', async () => {
      const cloud = shared()
      const { client, subnet, post, port } = await newNetwork()
      const elsewhere = (await newNetwork()).subnet
      const before = await countRows(cloud)
      const pairs = (count: number) => Array.from({ length: count }, (_, n) => ({ ip_address: `10.5.0.${n}` }))
      for (const [wish, status, type, reason] of [
        [{ fixed_ips: [{ ip_address: '10.9.0.1' }] }, 400, 'InvalidIpForSubnet', /10\.9\.0\.1/],
        [{ fixed_ips: [{ subnet_id: subnet.id, ip_address: '10.9.0.1' }] }, 400, 'InvalidIpForSubnet', /10\.9\.0\.1/],
        [{ fixed_ips: [{ ip_address: '10.0.0.0' }] }, 400, 'InvalidIpForSubnet', /10\.0\.0\.0/],
        [{ fixed_ips: [{ ip_address: '10.0.0.255' }] }, 400, 'InvalidIpForSubnet', /10\.0\.0\.255/],
        [{ fixed_ips: [{ subnet_id: elsewhere.id }] }, 400, 'InvalidInput', /not on network/],
        [{ fixed_ips: [{ subnet_id: 'nonsense' }] }, 400, 'HTTPBadRequest', /fixed_ips/],
        [{ fixed_ips: [{ ip_address: 'x\n"' }] }, 400, 'InvalidInput', /not a valid/],
        [{ fixed_ips: [{ ip_address: '10.0.0.7' }, { ip_address: '10.0.0.7' }] }, 400, 'InvalidInput', /twice/],
        [{ fixed_ips: [{ colour: 'red' }] }, 400, 'HTTPBadRequest', /fixed_ips/],
        [{ fixed_ips: [{ ip_address: '10.0.0.9' }] }, 409, 'IpAddressAlreadyAllocated', /10\.0\.0\.9/],
        [{ mac_address: port.mac_address }, 409, 'MacAddressInUse', /fa:16/],
        [{ mac_address: '01:00:5e:00:00:01' }, 400, 'HTTPBadRequest', /mac_address/],
        [{ mac_address: '00:00:00:00:00:00' }, 400, 'HTTPBadRequest', /mac_address/],
        [{ mac_address: 'FA:17:3e:00:00:01' }, 400, 'HTTPBadRequest', /mac_address/],
        [
          { allowed_address_pairs: [{ ip_address: '10.5.0.1', mac_address: 'fa:17:00:00:00:01' }] },
          400,
          'HTTPBadRequest',
          /allowed_address_pairs/,
        ],
        [{ mac_address: 'fa:16:3e' }, 400, 'HTTPBadRequest', /mac_address/],
        [{ security_groups: [NOBODY] }, 404, 'SecurityGroupNotFound', /does not exist/],
        [{ security_groups: ['default'] }, 400, 'HTTPBadRequest', /security_groups/],
        [{ allowed_address_pairs: pairs(11) }, 400, 'HTTPBadRequest', /allowed_address_pairs/],
        [{ allowed_address_pairs: [{ ip_address: '10.0.0' }] }, 400, 'InvalidInput', /10\.0\.0/],
        [{ allowed_address_pairs: [{}] }, 400, 'HTTPBadRequest', /ip_address/],
        [{ allowed_address_pairs: [...pairs(1), ...pairs(1)] }, 400, 'InvalidInput', /twice/],
        [{ extra_dhcp_opts: [{ opt_name: 'nonsense', opt_value: 'x' }] }, 400, 'InvalidInput', /nonsense/],
        [{ extra_dhcp_opts: [{ opt_name: '51', opt_value: '1' }] }, 400, 'InvalidInput', /51/],
        [{ extra_dhcp_opts: [{ opt_name: 'bootfile-name', opt_value: 'a\nb' }] }, 400, 'InvalidInput', /bootfile-name/],
        [{ extra_dhcp_opts: [{ opt_name: 'ntp-server', opt_value: 'x' }] }, 400, 'InvalidInput', /ntp-server/],
        [{ device_owner: 'network:dhcp' }, 403, 'PolicyNotAuthorized', /device_owner/],
        [{ device_id: 'dhcp-1' }, 400, 'InvalidInput', /device_id/],
        [{ 'binding:host_id': 'host' }, 403, 'PolicyNotAuthorized', /host_id/],
        [{ 'binding:profile': { a: 1 } }, 403, 'PolicyNotAuthorized', /profile/],
        [{ 'binding:vnic_type': 'direct' }, 400, 'HTTPBadRequest', /vnic_type/],
        [
          { port_security_enabled: false, allowed_address_pairs: pairs(1) },
          409,
          'AddressPairAndPortSecurityRequired',
          /./,
        ],
        [{ network_id: NOBODY }, 404, 'NetworkNotFound', /NOBODY|0000/],
        [{ network_id: 'net' }, 400, 'HTTPBadRequest', /network_id/],
        [{ colour: 'red' }, 400, 'HTTPBadRequest', /colour/],
        [{ status: 'ACTIVE' }, 400, 'HTTPBadRequest', /status/],
      ] as const) {
        const answer = await post(wish)
        assertNetworkError(answer, status, type, JSON.stringify(wish))
        assert.match(answer.json().NeutronError.message, reason)
      }
      const change = { port: { network_id: SHARED } }
      assertNetworkError(await client.put(`${neutron}/ports/${port.id}`, change), 400, 'HTTPBadRequest')
      assert.deepEqual(await countRows(cloud), before)
    })

    test("another project's port, network and server are not there", async () => {
      const cloud = shared()
      const { client, id, port } = await newNetwork()
      const { id: serverId } = await createServer(cloud, { networks: [{ uuid: id }] }, client)
      const stranger = await cloud.stranger()
      const mine = await make(stranger, 'ports', { network_id: SHARED })
      const before = await countRows(cloud)
      assertNetworkError(await stranger.get(`${uos}/ports/${port.id}`), 404, 'PortNotFound')
      assertNetworkError(await stranger.put(`${uos}/ports/${port.id}`, { port: { name: 'x' } }), 404, 'PortNotFound')
      assertNetworkError(await stranger.delete(`${uos}/ports/${port.id}`), 404, 'PortNotFound')
      assertNetworkError(await stranger.post(`${uos}/ports`, { port: { network_id: id } }), 404, 'NetworkNotFound')
      for (const device of [{ device_id: serverId }, { device_id: serverId, device_owner: 'compute:nova' }]) {
        assertNetworkError(await stranger.put(`${uos}/ports/${mine.id}`, { port: device }), 400, 'InvalidInput')
        const wish = { port: { network_id: SHARED, ...device } }
        assertNetworkError(await stranger.post(`${uos}/ports`, wish), 400, 'InvalidInput')
      }
      assert.deepEqual(await countRows(cloud), before)
    })

    test('on a shared network nobody takes what is others', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const port = await make(client, 'ports', { network_id: SHARED })
      const [gateway] = (await client.get(`${uos}/subnets?network_id=${SHARED}`)).json().subnets
      const before = await countRows(cloud)
      for (const [wish, status, type] of [
        [{ allowed_address_pairs: [{ ip_address: '0.0.0.0/0' }] }, 403, 'PolicyNotAuthorized'],
        [{ port_security_enabled: false }, 403, 'PolicyNotAuthorized'],
        [{ 'binding:disable_anti_spoofing': true }, 403, 'PolicyNotAuthorized'],
        [{ fixed_ips: [{ ip_address: gateway.gateway_ip }] }, 400, 'InvalidIpForSubnet'],
      ] as const) {
        const body = { port: { network_id: SHARED, ...wish } }
        assertNetworkError(await client.post(`${neutron}/ports`, body), status, type, JSON.stringify(wish))
        assertNetworkError(await client.put(`${neutron}/ports/${port.id}`, { port: wish }), status, type)
      }
      const bgp = (await client.get(`${uos}/networks?name=BGP`)).json().networks[0].id
      assertNetworkError(await client.post(`${uos}/ports`, { port: { network_id: bgp } }), 403, 'PolicyNotAuthorized')
      assert.deepEqual(await countRows(cloud), before)
    })

    test('no more ports than the quota has room for; services do not count', async () => {
      const cloud = shared()
      const { client, id } = await newNetwork()
      await cloud.cloud.db.transaction((tx) =>
        tx.insertInto('networkQuotas').values({ projectId: client.projectId, resource: 'port', most: 2 }).execute(),
      )
      await make(client, 'ports', { network_id: id })
      assertNetworkError(await client.post(`${neutron}/ports`, { port: { network_id: id } }), 409, 'OverQuota')
    })

    test('a pool that is exhausted says so', async () => {
      const client = await shared().stranger()
      const { id } = await make(client, 'networks', {})
      const cidr = { network_id: id, ip_version: 4, cidr: '10.0.0.0/29', enable_dhcp: false }
      const subnet = await make(client, 'subnets', cidr)
      const made = await Promise.all(Array.from({ length: 5 }, () => make(client, 'ports', { network_id: id })))
      assert.equal(new Set(made.map((port) => port.fixed_ips[0].ip_address)).size, 5)
      for (const wish of [{}, { fixed_ips: [{ subnet_id: subnet.id }] }]) {
        const answer = await client.post(`${neutron}/ports`, { port: { network_id: id, ...wish } })
        assertNetworkError(answer, 409, 'IpAddressGenerationFailure')
      }
    })

    test('whatever is sent, nothing fails inside, and what is refused changes nothing', async () => {
      const cloud = shared()
      const { client, id, subnet, port } = await newNetwork()
      const word = fc.constantFrom(
        '10.0.0.9',
        '10.0.0.20',
        '10.0.0.0/8',
        'fd00::1',
        '',
        'x\n"',
        '::/0',
        NOBODY,
        port.id,
      )
      const value = fc.oneof(
        word,
        fc.integer(),
        fc.boolean(),
        fc.constant(null),
        fc.array(word, { maxLength: 2 }),
        fc.object(),
      )
      const fixedIp = fc.record(
        { subnet_id: fc.constantFrom(subnet.id, NOBODY), ip_address: word },
        { requiredKeys: [] },
      )
      const pair = fc.record({ ip_address: word, mac_address: fc.constantFrom('fa:16:3e:00:00:01', 'x') })
      const option = fc.record({
        opt_name: fc.constantFrom('mtu', '67', 'x', ''),
        opt_value: fc.oneof(word, fc.constant(null)),
      })
      const list = (item: fc.Arbitrary<Body>) => fc.oneof(fc.array(item, { maxLength: 3 }), value)
      const body = fc.record(
        {
          network_id: fc.constantFrom(id, id, id, NOBODY, SHARED),
          name: value,
          mac_address: fc.constantFrom('fa:16:3e:00:00:02', port.mac_address, '', null, 7),
          fixed_ips: list(fixedIp),
          allowed_address_pairs: list(pair),
          extra_dhcp_opts: list(option),
          security_groups: value,
          port_security_enabled: fc.oneof(fc.boolean(), value),
          device_id: value,
          device_owner: value,
          'binding:profile': value,
          tags: value,
        },
        { requiredKeys: ['network_id'] },
      )
      await fc.assert(
        fc.asyncProperty(body, fc.boolean(), async (wish, isUpdate) => {
          const before = await countRows(cloud)
          const { network_id: _, mac_address: __, tags: ___, ...change } = wish
          const answer = isUpdate
            ? await client.put(`${neutron}/ports/${port.id}`, { port: change })
            : await client.post(`${neutron}/ports`, { port: wish })
          assert.ok(answer.statusCode < 500, answer.body)
          if (answer.statusCode >= 400) assert.deepEqual(await countRows(cloud), before)
          else if (!isUpdate) bodyOf(await client.delete(`${neutron}/ports/${answer.json().port.id}`), 204)
        }),
        { numRuns: 150 },
      )
    })
  })
}
