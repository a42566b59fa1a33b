/** N44 and N45: ports of a router's gateway address; and Neutron's of floating IPs. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import type { NetworkErrorType } from '../../src/network-api/network-errors.ts'
import { deletePorts } from '../../src/ports/delete-ports.ts'
import { countRows } from '../support/count-rows.ts'
import { assertNetworkError, type Body, bodyOf, DIALECTS, make } from '../support/network-requests.ts'
import { addNetwork, addPort } from '../support/network-rows.ts'
import { assertSameShape } from '../support/same-shape.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { type Client, DATABASES, type TestCloud } from '../support/test-cloud.ts'

const { uos, neutron } = DIALECTS
const sample = (name: string): Body =>
  JSON.parse(readFileSync(join(import.meta.dirname, '../fixtures/network', `${name}.json`), 'utf8'))
const NOWHERE = '00000000-0000-4000-8000-000000000000'

/** A project with a network behind a router of its own, and a port on it. */
async function withRouter(cloud: TestCloud, cidr: string) {
  const client = await cloud.stranger()
  const { read } = cloud.cloud.db
  const { id: bgp } = await read.selectFrom('networks').select('id').where('name', '=', 'BGP').executeTakeFirstOrThrow()
  const networkId = await addNetwork(cloud, { projectId: client.projectId, cidr })
  const router = await make(client, 'routers', { external_gateway_info: { network_id: bgp } })
  const { id: subnetId } = await read
    .selectFrom('subnets')
    .select('id')
    .where('networkId', '=', networkId)
    .executeTakeFirstOrThrow()
  bodyOf(await client.put(`${uos}/routers/${router.id}/add_router_interface`, { subnet_id: subnetId }), 200)
  const port = await addPort(cloud, { projectId: client.projectId, networkId })
  return { client, bgp, networkId, subnetId, routerId: router.id as string, port }
}

const add = (client: Client, routerId: string, wish: Body) =>
  client.put(`${uos}/uos_resources/${routerId}/add_router_portforwarding`, wish)
const remove = (client: Client, routerId: string, wish: Body) =>
  client.put(`${uos}/uos_resources/${routerId}/remove_router_portforwarding`, wish)

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database })

    test('UOS: a forwarding is added, shown with its router, and removed', async () => {
      const cloud = shared()
      const { client, routerId } = await withRouter(cloud, '10.40.0.0/24')
      const wish = { inside_addr: '10.40.0.9/32', inside_port: '22', outside_port: 2222, protocol: 'TCP' }
      const { id, ...rest } = bodyOf(await add(client, routerId, wish), 200)
      const shown = { inside_addr: '10.40.0.9', inside_port: 22, outside_port: 2222, protocol: 'TCP' }
      assert.deepEqual(rest, shown)
      const { router } = bodyOf(await client.get(`${uos}/routers/${routerId}`), 200)
      assert.deepEqual(router.portforwardings, [{ id, ...shown }])
      await cloud.settled()
      assert.deepEqual(
        cloud.machine.routers.get(routerId)?.portForwardings.map((one) => ({ ...one })),
        [{ outsideAddress: null, outsidePort: 2222, insideAddress: '10.40.0.9', insidePort: 22, protocol: 'tcp' }],
      )
      bodyOf(await add(client, routerId, { ...wish, protocol: 'udp' }), 200)
      assert.deepEqual(bodyOf(await remove(client, routerId, { id }), 200), { id, ...shown, router_id: routerId })
      assertNetworkError(await remove(client, routerId, { id }), 404, 'PortForwardingNotFound')
      await cloud.settled()
      assert.equal(cloud.machine.routers.get(routerId)?.portForwardings.length, 1)
    })

    test('UOS: what cannot be is refused, and changes nothing', async () => {
      const cloud = shared()
      const { client, routerId, subnetId } = await withRouter(cloud, '10.41.0.0/24')
      const other = await withRouter(cloud, '10.42.0.0/24')
      const good = { inside_addr: '10.41.0.9', inside_port: 80, outside_port: 80, protocol: 'TCP' }
      bodyOf(await add(client, routerId, good), 200)
      await cloud.settled()
      const before = await countRows(cloud)
      const refusals: [Body, number, NetworkErrorType][] = [
        [good, 409, 'PortForwardingExists'],
        [{ ...good, inside_addr: '10.41.0.7', protocol: 'tcp' }, 409, 'PortForwardingExists'],
        [{ ...good, outside_port: 81, inside_addr: '10.42.0.9' }, 400, 'BadRequest'],
        [{ ...good, outside_port: 81, inside_addr: '10.41.0.0/24' }, 400, 'BadRequest'],
        [{ ...good, outside_port: 81, inside_addr: 'fd00::1' }, 400, 'BadRequest'],
        [{ ...good, outside_port: 81, inside_addr: 'web' }, 400, 'BadRequest'],
        [{ ...good, outside_port: 81, protocol: 'ICMP' }, 400, 'BadRequest'],
        [{ ...good, outside_port: 0 }, 400, 'HTTPBadRequest'],
        [{ ...good, outside_port: 65_536 }, 400, 'HTTPBadRequest'],
        [{ ...good, outside_port: 81, inside_port: 'http' }, 400, 'HTTPBadRequest'],
        [{ ...good, inside_addr: undefined }, 400, 'HTTPBadRequest'],
        [{}, 400, 'HTTPBadRequest'],
        [null, 400, 'HTTPBadRequest'],
      ]
      for (const [wish, status, type] of refusals) {
        assertNetworkError(await add(client, routerId, wish), status, type, JSON.stringify(wish))
      }
      for (const id of [other.routerId, NOWHERE]) {
        assertNetworkError(await add(client, id, { ...good, outside_port: 81 }), 404, 'RouterNotFound')
        assertNetworkError(await remove(client, id, { id: NOWHERE }), 404, 'RouterNotFound')
      }
      assertNetworkError(await remove(client, routerId, {}), 400, 'HTTPBadRequest')
      const leave = await client.put(`${uos}/routers/${routerId}/remove_router_interface`, { subnet_id: subnetId })
      assertNetworkError(leave, 409, 'RouterInterfaceInUseByFloatingIP')
      assert.deepEqual(await countRows(cloud), before)
    })

    test('a router takes a hundred', async () => {
      const cloud = shared()
      const { client, routerId } = await withRouter(cloud, '10.43.0.0/24')
      const wish = (i: number) => ({ inside_addr: '10.43.0.9', inside_port: 1, outside_port: i, protocol: 'UDP' })
      for (let i = 1; i <= 100; i++) bodyOf(await add(client, routerId, wish(i)), 200)
      assertNetworkError(await add(client, routerId, wish(101)), 409, 'OverQuota')
    })

    test('Neutron: a floating IP forwards ports; it is on the router while it does', async () => {
      const cloud = shared()
      const { client, bgp, routerId, port } = await withRouter(cloud, '10.44.0.0/24')
      const { id } = await make(client, 'floatingips', { floating_network_id: bgp })
      const path = `${neutron}/floatingips/${id}/port_forwardings`
      const wish = {
        ...{ protocol: 'tcp', internal_ip_address: port.ipAddress, internal_port: 25, internal_port_id: port.id },
        ...{ external_port: 2230, description: 'Some description' },
      }
      const { port_forwarding: made } = bodyOf(await client.post(path, { port_forwarding: wish }), 201)
      assertSameShape({ port_forwarding: made }, sample('port-forwarding-create'))
      assert.deepEqual(made, { id: made.id, ...wish })
      assert.deepEqual(bodyOf(await client.get(path), 200).port_forwardings, [made])
      assert.deepEqual(bodyOf(await client.get(`${path}?protocol=udp`), 200).port_forwardings, [])
      assert.deepEqual(bodyOf(await client.get(`${path}/${made.id}`), 200).port_forwarding, made)
      const show = async () => bodyOf(await client.get(`${neutron}/floatingips/${id}`), 200).floatingip
      const { port_id, router_id, status, port_forwardings, floating_ip_address } = await show()
      assert.deepEqual([port_id, router_id, status, port_forwardings], [null, routerId, 'ACTIVE', [made]])
      await cloud.settled()
      assert.deepEqual(
        cloud.machine.routers.get(routerId)?.portForwardings.map((one) => ({ ...one })),
        [
          {
            ...{ outsideAddress: floating_ip_address, outsidePort: 2230, protocol: 'tcp' },
            ...{ insideAddress: port.ipAddress, insidePort: 25 },
          },
        ],
      )
      const change = { port_forwarding: { external_port: 2231, protocol: 'UDP' } }
      const { port_forwarding: changed } = bodyOf(await client.put(`${path}/${made.id}`, change), 200)
      assert.deepEqual(changed, { ...made, external_port: 2231, protocol: 'udp' })
      bodyOf(await client.delete(`${path}/${made.id}`), 204)
      assertNetworkError(await client.get(`${path}/${made.id}`), 404, 'PortForwardingNotFound')
      assert.equal((await show()).router_id, null)
      await cloud.settled()
      assert.deepEqual(cloud.machine.routers.get(routerId)?.portForwardings, [])
    })

    test('Neutron: what cannot be is refused, and changes nothing; what goes takes its forwardings along', async () => {
      const cloud = shared()
      const { client, bgp, port, networkId, routerId } = await withRouter(cloud, '10.45.0.0/24')
      const other = await withRouter(cloud, '10.46.0.0/24')
      const apart = await addNetwork(cloud, { projectId: client.projectId, cidr: '10.47.0.0/24' })
      const lonely = await addPort(cloud, { projectId: client.projectId, networkId: apart })
      const second = await addPort(cloud, { projectId: client.projectId, networkId })
      const { id } = await make(client, 'floatingips', { floating_network_id: bgp })
      const bound = await make(client, 'floatingips', { floating_network_id: bgp, port_id: second.id })
      const path = (floatingIpId: string) => `${neutron}/floatingips/${floatingIpId}/port_forwardings`
      const good = { protocol: 'tcp', internal_port: 25, internal_port_id: port.id, external_port: 25 }
      const create = (wish: Body, floatingIpId = id) => client.post(path(floatingIpId), { port_forwarding: wish })
      const { port_forwarding: made } = bodyOf(await create(good), 201)
      await cloud.settled()
      const before = await countRows(cloud)
      const refusals: [Body, number, NetworkErrorType][] = [
        [good, 409, 'PortForwardingExists'],
        [{ ...good, external_port: 26 }, 409, 'PortForwardingExists'],
        [{ ...good, internal_port: 26 }, 409, 'PortForwardingExists'],
        [{ ...good, internal_port_id: lonely.id }, 404, 'ExternalGatewayForFloatingIPNotFound'],
        [{ ...good, internal_port_id: other.port.id }, 404, 'PortNotFound'],
        [{ ...good, external_port: 26, internal_ip_address: '10.45.0.99' }, 400, 'BadRequest'],
        [{ ...good, protocol: 'icmp' }, 400, 'HTTPBadRequest'],
        [{ ...good, external_port: 0 }, 400, 'HTTPBadRequest'],
        [{ ...good, internal_port: undefined }, 400, 'HTTPBadRequest'],
        [{ ...good, colour: 'red' }, 400, 'HTTPBadRequest'],
      ]
      for (const [wish, status, type] of refusals) {
        assertNetworkError(await create(wish), status, type, JSON.stringify(wish))
      }
      assertNetworkError(await create(good, bound.id), 409, 'FloatingIPPortAlreadyAssociated')
      assertNetworkError(await create(good, NOWHERE), 404, 'FloatingIPNotFound')
      assertNetworkError(await other.client.get(path(id)), 404, 'FloatingIPNotFound')
      assertNetworkError(await other.client.delete(`${path(id)}/${made.id}`), 404, 'FloatingIPNotFound')
      assertNetworkError(await client.delete(`${path(bound.id)}/${made.id}`), 404, 'PortForwardingNotFound')
      const bind = await client.put(`${neutron}/floatingips/${id}`, { floatingip: { port_id: port.id } })
      assertNetworkError(bind, 409, 'Conflict')
      const clear = await client.put(`${neutron}/routers/${routerId}`, { router: { external_gateway_info: null } })
      assertNetworkError(clear, 409, 'RouterExternalGatewayInUseByFloatingIp')
      assert.deepEqual(await countRows(cloud), before)

      await cloud.cloud.db.transaction((tx) => deletePorts(cloud.cloud, tx, [port.id]))
      assert.deepEqual(bodyOf(await client.get(path(id)), 200).port_forwardings, [])
      const shown = async () => {
        const { router_id, status } = bodyOf(await client.get(`${neutron}/floatingips/${id}`), 200).floatingip
        return [router_id, status]
      }
      assert.deepEqual(await shown(), [null, 'DOWN'])
      const third = await addPort(cloud, { projectId: client.projectId, networkId })
      bodyOf(await create({ ...good, internal_port_id: third.id }), 201)
      assert.deepEqual(await shown(), [routerId, 'ACTIVE'])
      // An address that a port loses takes them along, too.
      const ip_address = third.ipAddress === '10.45.0.200' ? '10.45.0.201' : '10.45.0.200'
      bodyOf(await client.put(`${neutron}/ports/${third.id}`, { port: { fixed_ips: [{ ip_address }] } }), 200)
      assert.deepEqual(await shown(), [null, 'DOWN'])
      bodyOf(await create({ ...good, internal_port_id: third.id }), 201)
      bodyOf(await client.delete(`${neutron}/floatingips/${id}`), 204)
      const left = await cloud.cloud.db.read.selectFrom('portForwardings').select('id').where('routerId', '=', routerId)
      assert.deepEqual(await left.execute(), [])
    })
  })
}
