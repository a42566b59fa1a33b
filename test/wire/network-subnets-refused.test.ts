/** What is refused of subnets, and that nothing fails inside whatever is sent. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { countRows } from '../support/count-rows.ts'
import { assertNetworkError, type Body, bodyOf, DIALECTS, make } from '../support/network-requests.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { DATABASES } from '../support/test-cloud.ts'

const { neutron } = DIALECTS

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

    test('what cannot be a subnet is refused with its reason, and changes nothing', async () => {
      const { add, post } = await newNetwork()
      await add({ cidr: '10.0.0.0/24' })
      const before = await countRows(shared())
      const pool = (start: string, end: string) => ({ start, end })
      for (const [wish, status, type, reason] of [
        [{}, 400, 'HTTPBadRequest', /cidr/],
        [{ cidr: 'nonsense' }, 400, 'InvalidInput', /'nonsense'/],
        [{ cidr: '10.1.0.0' }, 400, 'InvalidInput', /10\.1\.0\.0/],
        [{ cidr: '10.1.0.0/31' }, 400, 'InvalidInput', /8 to 30/],
        [{ cidr: '10.1.0.0/7' }, 400, 'InvalidInput', /8 to 30/],
        [{ cidr: '127.1.0.0/24' }, 400, 'InvalidInput', /127\.0\.0\.0\/8/],
        [{ cidr: '169.254.0.0/16' }, 400, 'InvalidInput', /169\.254/],
        [{ cidr: '239.0.0.0/24' }, 400, 'InvalidInput', /224\.0\.0\.0\/3/],
        [{ cidr: 'fd00::/64' }, 400, 'InvalidInput', /ip_version 4/],
        [{ ip_version: 6, cidr: '10.1.0.0/24' }, 400, 'InvalidInput', /ip_version 6/],
        [{ ip_version: 5, cidr: '10.1.0.0/24' }, 400, 'HTTPBadRequest', /ip_version/],
        [{ ip_version: 6, cidr: 'fd00::/80', ipv6_ra_mode: 'slaac' }, 400, 'InvalidInput', /prefix of 64/],
        [{ cidr: '10.0.0.128/25' }, 400, 'InvalidInput', /overlaps/],
        [{ cidr: '10.0.0.0/8' }, 400, 'InvalidInput', /overlaps/],
        [{ cidr: '10.1.0.0/24', gateway_ip: '10.2.0.1' }, 400, 'InvalidInput', /gateway_ip 10\.2\.0\.1/],
        [{ cidr: '10.1.0.0/24', gateway_ip: '10.1.0.0' }, 400, 'InvalidInput', /gateway_ip/],
        [{ cidr: '10.1.0.0/24', gateway_ip: '10.1.0.255' }, 400, 'InvalidInput', /gateway_ip/],
        [{ cidr: '10.1.0.0/24', gateway_ip: 'x\n"' }, 400, 'InvalidInput', /gateway_ip/],
        [
          { cidr: '10.1.0.0/24', allocation_pools: [pool('10.1.0.1', '10.1.0.9')] },
          409,
          'GatewayConflictWithAllocationPools',
          /10\.1\.0\.1/,
        ],
        [
          { cidr: '10.1.0.0/24', allocation_pools: [pool('10.1.0.9', '10.1.0.2')] },
          400,
          'InvalidAllocationPool',
          /10\.1\.0\.9-10\.1\.0\.2/,
        ],
        [{ cidr: '10.1.0.0/24', allocation_pools: [pool('fd00::1', 'fd00::2')] }, 400, 'InvalidAllocationPool', /fd00/],
        [
          { cidr: '10.1.0.0/24', allocation_pools: [pool('10.1.0.2', '10.1.0.255')] },
          409,
          'OutOfBoundsAllocationPool',
          /beyond/,
        ],
        [
          { cidr: '10.1.0.0/24', allocation_pools: [pool('10.1.0.2', '10.1.0.9'), pool('10.1.0.9', '10.1.0.10')] },
          409,
          'OverlappingAllocationPools',
          /overlap/,
        ],
        [{ cidr: '10.1.0.0/24', allocation_pools: 'all' }, 400, 'HTTPBadRequest', /allocation_pools/],
        [{ cidr: '10.1.0.0/24', allocation_pools: [] }, 409, 'IpAddressGenerationFailure', /DHCP/],
        [{ cidr: '10.1.0.0/24', dns_nameservers: ['8.8.8'] }, 400, 'InvalidInput', /8\.8\.8/],
        [{ cidr: '10.1.0.0/24', dns_nameservers: ['192.0.2.1', '192.0.2.1'] }, 400, 'InvalidInput', /twice/],
        [
          { cidr: '10.1.0.0/24', host_routes: [{ destination: 'fd00::/64', nexthop: '10.1.0.3' }] },
          400,
          'InvalidInput',
          /fd00/,
        ],
        [{ cidr: '10.1.0.0/24', host_routes: [{ destination: '10.0.0.0/8' }] }, 400, 'HTTPBadRequest', /nexthop/],
        [{ cidr: '10.1.0.0/24', ipv6_ra_mode: 'slaac' }, 400, 'InvalidInput', /ip_version is 4/],
        [
          { ip_version: 6, cidr: 'fd00::/64', ipv6_ra_mode: 'slaac', ipv6_address_mode: 'dhcpv6-stateful' },
          400,
          'InvalidInput',
          /slaac/,
        ],
        [
          { ip_version: 6, cidr: 'fd00::/64', ipv6_ra_mode: 'slaac', enable_dhcp: false },
          400,
          'InvalidInput',
          /enable_dhcp/,
        ],
        [
          { ip_version: 6, cidr: 'fd00::/48', ipv6_address_mode: 'dhcpv6-stateful' },
          400,
          'InvalidInput',
          /at least 64/,
        ],
        [{ ip_version: 6, cidr: 'fd00::/64', ipv6_ra_mode: 'magic' }, 400, 'HTTPBadRequest', /ipv6_ra_mode/],
        [{ cidr: '10.1.0.0/24', colour: 'red' }, 400, 'HTTPBadRequest', /colour/],
      ] as const) {
        const answer = await post(wish)
        assertNetworkError(answer, status, type as never, JSON.stringify(wish))
        assert.match(answer.json().NeutronError.message, reason)
      }
      assert.deepEqual(await countRows(shared()), before)
    })

    test('whatever is sent, nothing fails inside, and what is refused changes nothing', async () => {
      const cloud = shared()
      const { client, id, add } = await newNetwork()
      const subnet = await add({ cidr: '10.0.0.0/24' })
      const word = fc.constantFrom(
        '10.0.0.0/24',
        '10.5.0.0/16',
        'fd00::/64',
        '10.5.0.1',
        'fd00::1',
        '',
        'x\n"',
        '1/1/1',
        '::/0',
      )
      const value = fc.oneof(
        word,
        fc.integer(),
        fc.boolean(),
        fc.constant(null),
        fc.array(word, { maxLength: 3 }),
        fc.object(),
      )
      const pools = fc.array(fc.record({ start: word, end: word }), { maxLength: 3 })
      const body = fc.record(
        {
          network_id: fc.constant(id),
          ip_version: fc.constantFrom(4, 6, '4', '6', 5),
          cidr: word,
          gateway_ip: fc.oneof(word, value),
          allocation_pools: fc.oneof(pools, value),
          dns_nameservers: value,
          host_routes: fc.oneof(fc.array(fc.record({ destination: word, nexthop: word })), value),
          enable_dhcp: fc.oneof(fc.boolean(), value),
          ipv6_ra_mode: fc.constantFrom('slaac', 'dhcpv6-stateful', null, 'x'),
          ipv6_address_mode: fc.constantFrom('slaac', 'dhcpv6-stateless', null),
          name: value,
        },
        { requiredKeys: ['network_id', 'ip_version'] },
      )
      await fc.assert(
        fc.asyncProperty(body, fc.boolean(), async (wish, isUpdate) => {
          const before = await countRows(cloud)
          const { network_id: _, ip_version: __, cidr: ___, ...change } = wish
          const answer = isUpdate
            ? await client.put(`${neutron}/subnets/${subnet.id}`, { subnet: change })
            : await client.post(`${neutron}/subnets`, { subnet: wish })
          assert.ok(answer.statusCode < 500, answer.body)
          if (answer.statusCode >= 400) assert.deepEqual(await countRows(cloud), before)
          else if (!isUpdate) bodyOf(await client.delete(`${neutron}/subnets/${answer.json().subnet.id}`), 204)
        }),
        { numRuns: 150 },
      )
    })
  })
}
