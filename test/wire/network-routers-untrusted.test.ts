/** Groups, rules, routers, floating IPs and forwardings with bodies made at random of what they could and could not hold. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { countRows } from '../support/count-rows.ts'
import { type Body, bodyOf, DIALECTS, make } from '../support/network-requests.ts'
import { addNetwork, addPort } from '../support/network-rows.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { DATABASES, type TestCloud } from '../support/test-cloud.ts'

const NOBODY = '00000000-0000-4000-8000-000000000000'

/** A project with one of everything, and the ids that a body could name. */
async function newProject(cloud: TestCloud) {
  const client = await cloud.stranger()
  const { projectId } = client
  const { read } = cloud.cloud.db
  const { id: bgp } = await read.selectFrom('networks').select('id').where('name', '=', 'BGP').executeTakeFirstOrThrow()
  const networkId = await addNetwork(cloud, { projectId, cidr: '10.50.0.0/24' })
  const { id: subnetId } = await read
    .selectFrom('subnets')
    .select('id')
    .where('networkId', '=', networkId)
    .executeTakeFirstOrThrow()
  const port = await addPort(cloud, { projectId, networkId })
  const group = await make(client, 'security-groups', { name: 'web' })
  const router = await make(client, 'routers', { external_gateway_info: { network_id: bgp } })
  const floatingIp = await make(client, 'floatingips', { floating_network_id: bgp })
  return { client, bgp, networkId, subnetId, port, group, router, floatingIp }
}

/** Requests: method, path below the dialect's prefix, body. */
function requestsOf({
  bgp,
  networkId,
  subnetId,
  port,
  group,
  router,
  floatingIp,
}: Awaited<ReturnType<typeof newProject>>) {
  const id = fc.constantFrom(bgp, networkId, subnetId, port.id, group.id, router.id, floatingIp.id, NOBODY, '')
  const address = fc.constantFrom(
    port.ipAddress,
    '10.50.0.1',
    '10.50.0.0/24',
    '0.0.0.0',
    'fd00::/64',
    '172.24.4.9',
    'x\n"',
  )
  const odd = fc.oneof(
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    fc.string(),
    fc.object(),
    fc.array(fc.anything({ maxDepth: 1 }), { maxLength: 2 }),
    id,
    address,
  )
  const mostly = (usual: fc.Arbitrary<unknown>) =>
    fc.oneof({ weight: 12, arbitrary: usual }, { weight: 1, arbitrary: odd })
  const some = (members: Record<string, fc.Arbitrary<unknown>>) =>
    mostly(
      fc.record(Object.fromEntries(Object.entries(members).map(([name, value]) => [name, mostly(value)])), {
        requiredKeys: [],
      }),
    )
  const number = fc.oneof(fc.integer({ min: -1, max: 65_536 }), fc.integer({ min: 0, max: 300 }).map(String))
  const name = fc.oneof(fc.string({ maxLength: 300 }), fc.constantFrom('\u0000', '\ud800', '網\n"\'`'))
  const routes = fc.array(some({ destination: address, nexthop: address }), { maxLength: 3 })

  const rule = some({
    security_group_id: fc.constant(group.id),
    direction: fc.constantFrom('ingress', 'egress'),
    ethertype: fc.constantFrom('IPv4', 'IPv6', 'ipv6'),
    protocol: fc.oneof(fc.constantFrom('tcp', 'udp', 'icmp', 'icmpv6', 'any', 'gre'), number),
    port_range_min: number,
    port_range_max: number,
    remote_ip_prefix: address,
    remote_group_id: id,
    description: name,
  })
  const routerBody = some({
    name,
    admin_state_up: fc.constantFrom(true, 'False', 1),
    external_gateway_info: some({
      network_id: id,
      enable_snat: fc.boolean(),
      external_fixed_ips: fc.array(some({ subnet_id: id })),
    }),
    routes,
  })
  const floating = some({
    floating_network_id: fc.constant(bgp),
    port_id: id,
    fixed_ip_address: address,
    floating_ip_address: address,
    subnet_id: id,
    rate_limit: number,
    'uos:name': name,
  })
  const forwarding = some({
    internal_port_id: fc.constant(port.id),
    internal_ip_address: address,
    internal_port: number,
    external_port: number,
    protocol: fc.constantFrom('tcp', 'UDP', 'icmp'),
  })
  const uosForwarding = some({
    inside_addr: address,
    inside_port: number,
    outside_port: number,
    protocol: fc.constantFrom('TCP', 'x'),
  })
  const inside = (key: string, body: fc.Arbitrary<unknown>) =>
    fc.oneof({ weight: 9, arbitrary: body.map((one) => ({ [key]: one })) }, { weight: 1, arbitrary: odd })
  const several = (key: string, body: fc.Arbitrary<unknown>) =>
    fc.array(body, { maxLength: 3 }).map((all) => ({ [key]: all }))
  const end = some({ subnet_id: id, port_id: id })
  const request = (method: 'POST' | 'PUT', path: string, body: fc.Arbitrary<unknown>) =>
    body.map((payload) => ({ method, path, payload }))

  return fc.oneof(
    request(
      'POST',
      '/security-groups',
      inside('security_group', some({ name, description: name, stateful: fc.boolean() })),
    ),
    request('PUT', `/security-groups/${group.id}`, inside('security_group', some({ name, description: name }))),
    request('POST', '/security-group-rules', inside('security_group_rule', rule)),
    request('POST', '/security-group-rules', several('security_group_rules', rule)),
    request('POST', '/routers', inside('router', routerBody)),
    request('PUT', `/routers/${router.id}`, inside('router', routerBody)),
    request('PUT', `/routers/${router.id}/add_router_interface`, end),
    request('PUT', `/routers/${router.id}/remove_router_interface`, end),
    request('PUT', `/routers/${router.id}/add_extraroutes`, inside('router', some({ routes }))),
    request('POST', '/floatingips', inside('floatingip', floating)),
    request('PUT', `/floatingips/${floatingIp.id}`, inside('floatingip', floating)),
    request('PUT', `/uos_resources/${floatingIp.id}/update_floatingip_ratelimit`, some({ rate_limit: number })),
    request('POST', `/floatingips/${floatingIp.id}/port_forwardings`, inside('port_forwarding', forwarding)),
    request('PUT', `/uos_resources/${router.id}/add_router_portforwarding`, uosForwarding),
    request('PUT', `/uos_resources/${router.id}/remove_router_portforwarding`, some({ id })),
  )
}

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database })

    test('whatever is sent, nothing fails inside, and what is refused changes nothing', async () => {
      const cloud = shared()
      const project = await newProject(cloud)
      const { client } = project
      await cloud.cloud.db.transaction(async (tx) => {
        for (const resource of ['security_group', 'security_group_rule', 'router', 'floatingip']) {
          await tx.insertInto('networkQuotas').values({ projectId: client.projectId, resource, most: -1 }).execute()
        }
      })
      const statuses = new Map<number, number>()
      await fc.assert(
        fc.asyncProperty(
          requestsOf(project),
          fc.constantFrom(...Object.values(DIALECTS)),
          async ({ method, path, payload }, prefix) => {
            const before = await countRows(cloud)
            const send = method === 'POST' ? client.post : client.put
            const answer = await send(prefix + path, payload)
            statuses.set(answer.statusCode, (statuses.get(answer.statusCode) ?? 0) + 1)
            assert.ok(answer.statusCode < 500, `${method} ${path} ${JSON.stringify(payload)} ${answer.body}`)
            if (answer.statusCode < 400) return
            assert.deepEqual(await countRows(cloud), before, `${method} ${path} ${answer.body}`)
            const { type, message } = (answer.json() as Body).NeutronError
            assert.match(`${type} ${message}`, /^\w+ \S/)
          },
        ),
        { numRuns: 200 },
      )
      // Not all of it is refused for one silly reason.
      assert.ok(statuses.has(200) && statuses.has(201), JSON.stringify([...statuses]))
      await cloud.settled()
      bodyOf(await client.get(`${DIALECTS.neutron}/security-groups`), 200)
      bodyOf(await client.get(`${DIALECTS.neutron}/routers`), 200)
      bodyOf(await client.get(`${DIALECTS.neutron}/floatingips`), 200)
    })
  })
}
