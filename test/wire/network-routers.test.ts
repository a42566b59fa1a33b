/** N14 to N20, delete, routes: routers in both dialects. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import type { NetworkErrorType } from '../../src/network-api/network-errors.ts'
import { countRows } from '../support/count-rows.ts'
import { assertNetworkError, type Body, bodyOf, DIALECTS, make } from '../support/network-requests.ts'
import { addNetwork, addPort, freeAddress } from '../support/network-rows.ts'
import { assertSameShape } from '../support/same-shape.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { type Client, DATABASES, type TestCloud } from '../support/test-cloud.ts'

const { uos, neutron } = DIALECTS
const BOTH = [uos, neutron]
const sample = (name: string): Body =>
  JSON.parse(readFileSync(join(import.meta.dirname, '../fixtures/network', `${name}.json`), 'utf8'))
const NOWHERE = '00000000-0000-4000-8000-000000000000'

const networkNamed = async (cloud: TestCloud, name: string): Promise<string> => {
  const { id } = await cloud.cloud.db.read
    .selectFrom('networks')
    .select('id')
    .where('name', '=', name)
    .executeTakeFirstOrThrow()
  return id
}

/** A network of the client's own, its subnet and gateway. */
async function ownNetwork(cloud: TestCloud, { projectId }: Client, cidr: string) {
  const networkId = await addNetwork(cloud, { projectId, cidr })
  const subnet = await cloud.cloud.db.read
    .selectFrom('subnets')
    .selectAll()
    .where('networkId', '=', networkId)
    .executeTakeFirstOrThrow()
  return { networkId, subnetId: subnet.id, gatewayIp: subnet.gatewayIp }
}

const enter = (client: Client, id: string, wish: Body, dialect: string = neutron) =>
  client.put(`${dialect}/routers/${id}/add_router_interface`, wish)
const leave = (client: Client, id: string, wish: Body, dialect: string = neutron) =>
  client.put(`${dialect}/routers/${id}/remove_router_interface`, wish)
const change = (client: Client, id: string, router: Body, dialect: string = neutron) =>
  client.put(`${dialect}/routers/${id}`, { router })
const show = async (client: Client, id: string, dialect: string = neutron) =>
  bodyOf(await client.get(`${dialect}/routers/${id}`), 200).router

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database })

    test('UOS: create, show, list, rename, off and on, delete, member for member', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const network_id = await networkNamed(cloud, 'BGP')
      const wish = { router: { name: 'edge', admin_state_up: 'True', external_gateway_info: { network_id } } }
      const { router: created } = bodyOf(await client.post(`${uos}/routers.json`, wish), 201)
      const { id } = created
      assert.deepEqual(created, {
        ...{ id, name: 'edge', status: 'ACTIVE', admin_state_up: true, tenant_id: client.projectId },
        external_gateway_info: { network_id },
      })
      const shown = await show(client, id, uos)
      const { created_at, ...rest } = shown
      assert.match(created_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}$/)
      assert.deepEqual(rest, {
        ...created,
        external_gateway_info: { network_id, enable_snat: true },
        ...{ portforwardings: [], routes: [] },
      })
      assert.deepEqual(bodyOf(await client.get(`${uos}/routers`), 200).routers, [shown])
      assert.equal(bodyOf(await change(client, id, { name: 'door' }, uos), 200).router.name, 'door')
      for (const [given, isUp] of [
        ['False', false],
        ['True', true],
      ]) {
        assert.equal(bodyOf(await change(client, id, { admin_state_up: given }, uos), 200).router.admin_state_up, isUp)
        await cloud.settled()
        assert.equal(cloud.machine.routers.get(id)?.isUp, isUp)
        assert.equal((await show(client, id, uos)).status, isUp ? 'ACTIVE' : 'DOWN')
      }
      const cleared = bodyOf(await change(client, id, { external_gateway_info: null }, uos), 200).router
      assert.equal(cleared.external_gateway_info, null)
      bodyOf(await client.delete(`${uos}/routers/${id}`), 204)
      assertNetworkError(await client.get(`${uos}/routers/${id}`), 404, 'RouterNotFound')
      await cloud.settled()
      assert.equal(cloud.machine.routers.has(id), false)
    })

    test('Neutron: what it shows has the shape of its own samples', async () => {
      const cloud = shared()
      const network_id = await networkNamed(cloud, 'BGP')
      const router = await make(cloud.admin, 'routers', {
        name: 'router1',
        admin_state_up: true,
        external_gateway_info: { network_id, enable_snat: false },
      })
      const { router: example } = sample('router-create')
      // Extensions that are not offered; there are no flavors of routers.
      delete example.service_type_id
      delete example.conntrack_helpers
      assertSameShape(router, { ...example, flavor_id: null })
      const { enable_snat, external_fixed_ips } = router.external_gateway_info
      assert.equal(enable_snat, false)
      assert.match(external_fixed_ips[0].ip_address, /^172\.24\.4\.\d+$/)
      const member = await make(await cloud.stranger(), 'routers', {})
      assert.deepEqual([member.distributed, member.ha, member.external_gateway_info], [undefined, undefined, null])
      bodyOf(await cloud.admin.delete(`${neutron}/routers/${router.id}`), 204)
    })

    test('an interface is added and removed by subnet and by port', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const { networkId, subnetId, gatewayIp } = await ownNetwork(cloud, client, '10.1.0.0/24')
      const { id } = await make(client, 'routers', { name: 'r' })
      const uosAnswer = bodyOf(await enter(client, id, { subnet_id: subnetId }, uos), 200)
      const { port_id } = uosAnswer
      assert.deepEqual(uosAnswer, { id, subnet_id: subnetId, tenant_id: client.projectId, port_id })
      await cloud.settled()
      assert.deepEqual(
        cloud.machine.routers.get(id)?.interfaces.map(({ addresses }) => addresses.map((one) => ({ ...one }))),
        [[{ subnetId, ipAddress: gatewayIp }]],
      )
      assert.deepEqual(bodyOf(await leave(client, id, { subnet_id: subnetId }, uos), 200), uosAnswer)
      await cloud.settled()
      assert.deepEqual(cloud.machine.routers.get(id)?.interfaces, [])

      const port = await addPort(cloud, { projectId: client.projectId, networkId })
      const answer = bodyOf(await enter(client, id, { port_id: port.id }), 200)
      const example = sample('router-add-interface')
      delete example.tags
      assertSameShape(answer, example)
      assert.deepEqual([answer.port_id, answer.subnet_ids, answer.network_id], [port.id, [subnetId], networkId])
      await cloud.settled()
      assert.equal(cloud.machine.routers.get(id)?.interfaces[0]?.addresses[0]?.ipAddress, port.ipAddress)
      assert.deepEqual(bodyOf(await leave(client, id, { port_id: port.id, subnet_id: subnetId }), 200), answer)
      const left = await cloud.cloud.db.read.selectFrom('ports').select('id').where('id', '=', port.id).execute()
      assert.deepEqual(left, [])
    })

    test('interfaces that cannot be are refused, and change nothing', async () => {
      const cloud = shared()
      const [client, other] = [await cloud.stranger(), await cloud.stranger()]
      const { networkId, subnetId } = await ownNetwork(cloud, client, '10.2.0.0/24')
      const overlapping = await ownNetwork(cloud, client, '10.2.0.128/25')
      const outside = await ownNetwork(cloud, client, '172.24.0.0/16')
      const free = await ownNetwork(cloud, client, '10.3.0.0/24')
      const bare = await ownNetwork(cloud, client, '10.4.0.0/24')
      const theirs = await ownNetwork(cloud, other, '10.5.0.0/24')
      const shareds = await cloud.cloud.db.read
        .selectFrom('subnets')
        .select('id')
        .where('name', '=', 'shared_subnet')
        .executeTakeFirstOrThrow()
      await cloud.cloud.db.transaction((tx) =>
        tx.updateTable('subnets').set({ gatewayIp: null }).where('id', '=', bare.subnetId).execute(),
      )
      const network_id = await networkNamed(cloud, 'BGP')
      const { id } = await make(client, 'routers', { external_gateway_info: { network_id } })
      const theirRouter = await make(other, 'routers', {})
      bodyOf(await enter(client, id, { subnet_id: subnetId }), 200)
      const used = await addPort(cloud, { projectId: client.projectId, networkId: free.networkId })
      const twin = await addPort(cloud, { projectId: client.projectId, networkId })
      const theirPort = await addPort(cloud, { projectId: other.projectId, networkId: theirs.networkId })
      const gateway = await addPort(cloud, { projectId: client.projectId, networkId: free.networkId })
      await cloud.cloud.db.transaction(async (tx) => {
        await tx.updateTable('ports').set({ deviceId: 'x' }).where('id', '=', used.id).execute()
        const address = { ipAddress: '10.3.0.1' }
        await tx.updateTable('portAddresses').set(address).where('portId', '=', gateway.id).execute()
      })
      await cloud.settled()
      const before = await countRows(cloud)
      const refusals: [Body, number, NetworkErrorType][] = [
        [{}, 400, 'BadRequest'],
        [{ subnet_id: free.subnetId, port_id: used.id }, 400, 'BadRequest'],
        [{ subnet_id: subnetId }, 400, 'BadRequest'],
        [{ port_id: twin.id }, 400, 'BadRequest'],
        [{ subnet_id: overlapping.subnetId }, 400, 'BadRequest'],
        [{ subnet_id: outside.subnetId }, 400, 'BadRequest'],
        [{ subnet_id: bare.subnetId }, 400, 'BadRequest'],
        [{ subnet_id: shareds.id }, 400, 'BadRequest'],
        [{ subnet_id: free.subnetId }, 409, 'IpAddressAlreadyAllocated'],
        [{ port_id: used.id }, 409, 'PortInUse'],
        [{ subnet_id: theirs.subnetId }, 404, 'SubnetNotFound'],
        [{ subnet_id: NOWHERE }, 404, 'SubnetNotFound'],
        [{ port_id: theirPort.id }, 404, 'PortNotFound'],
        [{ port_id: NOWHERE }, 404, 'PortNotFound'],
        [{ subnet_id: 7 }, 400, 'HTTPBadRequest'],
        [null, 400, 'HTTPBadRequest'],
      ]
      for (const dialect of BOTH) {
        for (const [wish, status, type] of refusals) {
          assertNetworkError(await enter(client, id, wish, dialect), status, type, JSON.stringify(wish))
        }
        const left: [Body, number, NetworkErrorType][] = [
          [{}, 400, 'BadRequest'],
          [{ subnet_id: free.subnetId }, 404, 'RouterInterfaceNotFoundForSubnet'],
          [{ port_id: twin.id }, 404, 'RouterInterfaceNotFound'],
        ]
        for (const [wish, status, type] of left) {
          assertNetworkError(await leave(client, id, wish, dialect), status, type, JSON.stringify(wish))
        }
        for (const routerId of [theirRouter.id, NOWHERE]) {
          assertNetworkError(await enter(client, routerId, { subnet_id: free.subnetId }), 404, 'RouterNotFound')
          assertNetworkError(await leave(client, routerId, { subnet_id: subnetId }), 404, 'RouterNotFound')
          assertNetworkError(await client.get(`${dialect}/routers/${routerId}`), 404, 'RouterNotFound')
          assertNetworkError(await client.delete(`${dialect}/routers/${routerId}`), 404, 'RouterNotFound')
          assertNetworkError(await change(client, routerId, { name: 'x' }, dialect), 404, 'RouterNotFound')
        }
        assertNetworkError(await client.delete(`${dialect}/routers/${id}`), 409, 'RouterInUse')
      }
      assert.deepEqual(await countRows(cloud), before)
    })

    test('of two who add the same subnet at once, one does', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const { subnetId } = await ownNetwork(cloud, client, '10.6.0.0/24')
      const { id } = await make(client, 'routers', {})
      const answers = await Promise.all(Array.from({ length: 4 }, () => enter(client, id, { subnet_id: subnetId })))
      assert.deepEqual(answers.map(({ statusCode }) => statusCode).sort(), [200, 400, 400, 400])
    })

    test('a tenant joins the shared network by a port of its own', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const { id } = await make(client, 'routers', {})
      const networkId = await networkNamed(cloud, 'shared')
      const port = await addPort(cloud, { projectId: client.projectId, networkId })
      bodyOf(await enter(client, id, { port_id: port.id }), 200)
      bodyOf(await leave(client, id, { port_id: port.id }), 200)
    })

    test('gateways: set, changed, cleared; only admins choose addresses and turn SNAT off', async () => {
      const cloud = shared()
      const { admin } = cloud
      const client = await cloud.stranger()
      const network_id = await networkNamed(cloud, 'BGP')
      const { networkId: inside } = await ownNetwork(cloud, client, '10.7.0.0/24')
      const { id } = await make(client, 'routers', {})
      const set = (who: Client, info: Body) => change(who, id, { external_gateway_info: info })
      const before = await countRows(cloud)
      assertNetworkError(await set(client, { network_id: NOWHERE }), 404, 'NetworkNotFound')
      assertNetworkError(await set(client, { network_id: inside }), 400, 'BadRequest')
      assertNetworkError(await set(client, { network_id, enable_snat: false }), 403, 'PolicyNotAuthorized')
      const chosenIp = await freeAddress(cloud, '172.24.4')
      const fixed = { network_id, external_fixed_ips: [{ ip_address: chosenIp }] }
      assertNetworkError(await set(client, fixed), 403, 'PolicyNotAuthorized')
      assertNetworkError(await set(client, { network_id, colour: 'red' }), 400, 'HTTPBadRequest')
      assertNetworkError(await set(client, 'BGP'), 400, 'HTTPBadRequest')
      assertNetworkError(await change(client, id, { ha: true }), 400, 'BadRequest')
      const elsewhere = { network_id, external_fixed_ips: [{ ip_address: '10.0.0.1' }] }
      assert.equal((await set(admin, elsewhere)).statusCode, 400)
      assert.deepEqual(await countRows(cloud), before)

      const first = bodyOf(await set(client, { network_id }), 200).router.external_gateway_info
      const again = bodyOf(await set(client, { network_id, enable_snat: true }), 200).router.external_gateway_info
      assert.deepEqual(again, first)
      const chosen = bodyOf(await set(admin, { ...fixed, enable_snat: 'False' }), 200).router.external_gateway_info
      assert.equal(chosen.external_fixed_ips[0].ip_address, chosenIp)
      assert.equal(chosen.enable_snat, false)
      await cloud.settled()
      const plan = cloud.machine.routers.get(id)?.gateway
      assert.deepEqual([plan?.addresses[0]?.ipAddress, plan?.hasSnat], [chosenIp, false])
      assert.equal(bodyOf(await set(client, {}), 200).router.external_gateway_info, null)
      await cloud.settled()
      assert.equal(cloud.machine.routers.get(id)?.gateway, null)
      assert.deepEqual(await countRows(cloud), before)
    })

    test('routes lead to next hops on the router’s own subnets', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const { subnetId } = await ownNetwork(cloud, client, '10.8.0.0/24')
      const { id } = await make(client, 'routers', {})
      bodyOf(await enter(client, id, { subnet_id: subnetId }), 200)
      const to = (destination: string, nexthop = '10.8.0.9') => ({ destination, nexthop })
      const set = (routes: Body) => change(client, id, { routes })
      const refusals: [Body, NetworkErrorType][] = [
        [[to('192.168.0.0/16', '10.9.0.9')], 'InvalidRoutes'],
        [[to('192.168.0.0/16', '10.8.0.1')], 'InvalidRoutes'],
        [[to('192.168.0.1/16')], 'InvalidRoutes'],
        [[to('192.168.0.0')], 'InvalidRoutes'],
        [[to('nowhere')], 'InvalidRoutes'],
        [[to('fd00::/64')], 'InvalidRoutes'],
        [[to('192.168.0.0/16'), to('192.168.0.0/16')], 'InvalidRoutes'],
        [Array.from({ length: 31 }, (_, i) => to(`192.168.${i}.0/24`)), 'RoutesExhausted'],
        [[{ destination: '192.168.0.0/16' }], 'HTTPBadRequest'],
        ['all', 'HTTPBadRequest'],
      ]
      for (const [routes, type] of refusals) {
        assertNetworkError(await set(routes), 400, type, JSON.stringify(routes).slice(0, 99))
      }
      assert.deepEqual((await show(client, id)).routes, [])
      const [one, two, three] = [to('192.168.0.0/16'), to('0.0.0.0/0'), to('192.168.9.0/24', '10.8.0.10')]
      assert.deepEqual(bodyOf(await set([one, two]), 200).router.routes, [one, two])
      await cloud.settled()
      assert.deepEqual(cloud.machine.routers.get(id)?.routes, [one, two])
      const extra = (name: string, routes: Body, dialect: string = neutron) =>
        client.put(`${dialect}/routers/${id}/${name}`, { router: { routes } })
      const added = bodyOf(await extra('add_extraroutes', [two, three]), 200)
      assert.deepEqual(added.router.routes, [one, two, three])
      assertNetworkError(await extra('add_extraroutes', [to('10.0.0.0/8', '10.9.0.1')]), 400, 'InvalidRoutes')
      assertNetworkError(await extra('add_extraroutes', undefined), 400, 'HTTPBadRequest')
      const gone = bodyOf(await extra('remove_extraroutes', [one, to('1.0.0.0/8')], uos), 200)
      assert.deepEqual(gone.router.routes, [two, three])
      assertNetworkError(await leave(client, id, { subnet_id: subnetId }), 409, 'RouterInterfaceInUseByRoute')
      assert.deepEqual(bodyOf(await set(null), 200).router.routes, [])
      bodyOf(await leave(client, id, { subnet_id: subnetId }), 200)
    })

    test('a project has ten routers; readers make none; others’ are not there', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      for (let i = 0; i < 10; i++) await make(client, 'routers', { name: `r${i}` })
      assertNetworkError(await client.post(`${uos}/routers`, { router: { name: 'x' } }), 409, 'OverQuota')
      const reader = await cloud.stranger('reader')
      assert.equal((await reader.post(`${uos}/routers`, { router: { name: 'x' } })).statusCode, 403)
      assert.deepEqual(bodyOf(await reader.get(`${neutron}/routers`), 200).routers, [])
      const found = bodyOf(await client.get(`${neutron}/routers?name=r3&name=r4&fields=name&sort_key=name`), 200)
      assert.deepEqual(found.routers, [{ name: 'r3' }, { name: 'r4' }])
    })
  })
}
