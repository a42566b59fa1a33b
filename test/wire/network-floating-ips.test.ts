/** N21 to N26, list and rename: floating IPs in both dialects. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import type { NetworkErrorType } from '../../src/network-api/network-errors.ts'
import { deletePorts } from '../../src/ports/delete-ports.ts'
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

/** The ids of the networks, and of the router between them, that every cloud has. */
async function seeded(cloud: TestCloud): Promise<{ bgp: string; shared: string; routerId: string }> {
  const { read } = cloud.cloud.db
  const idOf = async (table: 'networks' | 'routers', name: string) =>
    (await read.selectFrom(table).select('id').where('name', '=', name).executeTakeFirstOrThrow()).id
  return {
    bgp: await idOf('networks', 'BGP'),
    shared: await idOf('networks', 'shared'),
    routerId: await idOf('routers', 'shared-router'),
  }
}

const change = (client: Client, id: string, floatingip: Body, dialect: string = uos) =>
  client.put(`${dialect}/floatingips/${id}`, { floatingip })
const show = async (client: Client, id: string, dialect: string = uos) =>
  bodyOf(await client.get(`${dialect}/floatingips/${id}`), 200).floatingip
const planned = (cloud: TestCloud, routerId: string, id: string) =>
  cloud.machine.routers.get(routerId)?.floatingIps.find(({ floatingIpId }) => floatingIpId === id)

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database })

    test('UOS: create, show, bind, unbind, rename, delete, member for member', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const { bgp, shared: inside, routerId } = await seeded(cloud)
      const wish = { floating_network_id: bgp, rate_limit: '2048', 'uos:name': 'door' }
      const { floatingip: created } = bodyOf(await client.post(`${uos}/floatingips.json`, { floatingip: wish }), 201)
      const { id, floating_ip_address, created_at, ...rest } = created
      assert.match(floating_ip_address, /^172\.24\.4\.\d+$/)
      assert.match(created_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}$/)
      assert.deepEqual(rest, {
        ...{ tenant_id: client.projectId, floating_network_id: bgp, rate_limit: 2048, 'uos:name': 'door' },
        ...{ status: 'DOWN', port_id: null, fixed_ip_address: null, router_id: null },
      })
      assert.deepEqual(await show(client, id), created)
      assert.deepEqual(bodyOf(await client.get(`${uos}/floatingips`), 200).floatingips, [created])

      const port = await addPort(cloud, { projectId: client.projectId, networkId: inside })
      const bound = bodyOf(await change(client, id, { port_id: port.id }), 200).floatingip
      const binding = { port_id: port.id, fixed_ip_address: port.ipAddress, router_id: routerId }
      assert.deepEqual({ ...bound, ...binding }, bound)
      await cloud.settled()
      assert.equal((await show(client, id)).status, 'ACTIVE')
      const { rateLimitKbps, ipAddress, fixedIpAddress } = planned(cloud, routerId, id) ?? {}
      assert.deepEqual([rateLimitKbps, ipAddress, fixedIpAddress], [2048, floating_ip_address, port.ipAddress])

      const named = bodyOf(await change(client, id, { 'uos:name': 'gate' }), 200).floatingip
      assert.deepEqual([named['uos:name'], named.port_id], ['gate', port.id])
      const unbound = bodyOf(await change(client, id, { port_id: null }), 200).floatingip
      assert.deepEqual(unbound, { ...created, 'uos:name': 'gate' })
      await cloud.settled()
      assert.equal(planned(cloud, routerId, id), undefined)
      bodyOf(await client.delete(`${uos}/floatingips/${id}`), 204)
      assertNetworkError(await client.get(`${uos}/floatingips/${id}`), 404, 'FloatingIPNotFound')
    })

    test('Neutron: what it shows has the shape of its own sample', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const { bgp, shared: inside } = await seeded(cloud)
      const port = await addPort(cloud, { projectId: client.projectId, networkId: inside })
      const wish = { floating_network_id: bgp, port_id: port.id, description: 'for testing', dns_name: 'myfip' }
      const floatingIp = await make(client, 'floatingips', wish)
      const { floatingip: example } = sample('floatingip-create')
      assertSameShape(floatingIp, { ...example, qos_policy_id: null })
      assert.equal(floatingIp.port_details.network_id, inside)
      const found = await client.get(`${neutron}/floatingips?port_id=${port.id}&fields=id&fields=dns_name`)
      assert.deepEqual(bodyOf(found, 200).floatingips, [{ id: floatingIp.id, dns_name: 'myfip' }])
    })

    test('N22: the rate is changed by both paths with both bodies, and reaches the router', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const { bgp, shared: inside, routerId } = await seeded(cloud)
      const port = await addPort(cloud, { projectId: client.projectId, networkId: inside })
      const { id } = await make(client, 'floatingips', { floating_network_id: bgp, port_id: port.id })
      assert.equal((await show(client, id)).rate_limit, 1024)
      let rate_limit = 1024
      for (const place of ['uos_resources', 'floatingips']) {
        for (const wrap of [(body: Body) => body, (body: Body) => ({ floatingip: body })]) {
          rate_limit += 1024
          const answer = await client.put(
            `${uos}/${place}/${id}/update_floatingip_ratelimit.json`,
            wrap({ rate_limit }),
          )
          const changed = bodyOf(answer, 200)
          assert.equal(changed.rate_limit, rate_limit)
          assert.deepEqual(Object.keys(changed).sort(), [
            ...['created_at', 'fixed_ip_address', 'floating_ip_address', 'floating_network_id', 'floating_port_id'],
            ...['floating_subnet_id', 'id', 'port_id', 'rate_limit', 'router_id', 'status', 'tenant_id', 'uos:name'],
            'uos:registerno',
          ])
          await cloud.settled()
          assert.equal(planned(cloud, routerId, id)?.rateLimitKbps, rate_limit)
        }
      }
      for (const body of [
        {},
        null,
        { rate_limit: 0 },
        { rate_limit: -1024 },
        { rate_limit: 'fast' },
        { rate_limit: null },
      ]) {
        const answer = await client.put(`${uos}/uos_resources/${id}/update_floatingip_ratelimit`, body)
        assertNetworkError(answer, 400, 'HTTPBadRequest', JSON.stringify(body))
      }
      const lost = await client.put(`${uos}/uos_resources/${NOWHERE}/update_floatingip_ratelimit`, { rate_limit })
      assertNetworkError(lost, 404, 'FloatingIPNotFound')
    })

    test('an admin chooses the address; a wish that cannot be is refused', async () => {
      const cloud = shared()
      const { admin } = cloud
      const client = await cloud.stranger()
      const { bgp } = await seeded(cloud)
      // One that is surely free: others of this cloud have addresses at random.
      const freed = await make(admin, 'floatingips', { floating_network_id: bgp })
      await admin.delete(`${neutron}/floatingips/${freed.id}`)
      const address = freed.floating_ip_address
      const wish = { floating_network_id: bgp, floating_ip_address: address }
      assertNetworkError(await client.post(`${uos}/floatingips`, { floatingip: wish }), 403, 'PolicyNotAuthorized')
      const given = await make(admin, 'floatingips', { ...wish, tenant_id: client.projectId })
      assert.equal((await show(client, given.id)).floating_ip_address, address)
      const before = await countRows(cloud)
      for (const [wished, status] of [
        [address, 409],
        ['10.0.0.1', 400],
        ['172.24.4.0', 400],
        ['no address', 400],
      ] as const) {
        const answer = await admin.post(`${neutron}/floatingips`, {
          floatingip: { floating_network_id: bgp, floating_ip_address: wished },
        })
        assert.equal(answer.statusCode, status, answer.body)
      }
      assert.deepEqual(await countRows(cloud), before)
    })

    test('what must not be is refused, and changes nothing', async () => {
      const cloud = shared()
      const [client, other] = [await cloud.stranger(), await cloud.stranger()]
      const { bgp, shared: inside } = await seeded(cloud)
      const own = await addNetwork(cloud, { projectId: client.projectId, cidr: '10.20.0.0/24' })
      const hidden = await addNetwork(cloud, { projectId: other.projectId, cidr: '10.21.0.0/24' })
      const { id: emptyId } = await (async () => {
        const id = await addNetwork(cloud, { projectId: client.projectId, cidr: '10.22.0.0/24' })
        await cloud.cloud.db.transaction(async (tx) => {
          await tx.deleteFrom('subnets').where('networkId', '=', id).execute()
          await tx.updateTable('networks').set({ isExternal: 1 }).where('id', '=', id).execute()
        })
        return { id }
      })()
      const port = await addPort(cloud, { projectId: client.projectId, networkId: inside })
      const lonely = await addPort(cloud, { projectId: client.projectId, networkId: own })
      const theirs = await addPort(cloud, { projectId: other.projectId, networkId: inside })
      const [free, bound] = [
        await make(client, 'floatingips', { floating_network_id: bgp }),
        await make(client, 'floatingips', { floating_network_id: bgp, port_id: port.id }),
      ]
      const foreign = await make(other, 'floatingips', { floating_network_id: bgp })
      const several = await addPort(cloud, { projectId: client.projectId, networkId: inside })
      const second = await freeAddress(cloud)
      await cloud.cloud.db.transaction(async (tx) => {
        const { subnetId } = await tx
          .selectFrom('portAddresses')
          .select('subnetId')
          .where('portId', '=', several.id)
          .executeTakeFirstOrThrow()
        const address = { subnetId, portId: several.id, ipAddress: second }
        await tx.insertInto('portAddresses').values(address).execute()
      })
      const creates: [Body, number, NetworkErrorType][] = [
        [{}, 400, 'HTTPBadRequest'],
        [{ floating_network_id: NOWHERE }, 404, 'NetworkNotFound'],
        [{ floating_network_id: hidden }, 404, 'NetworkNotFound'],
        [{ floating_network_id: own }, 400, 'BadRequest'],
        [{ floating_network_id: emptyId }, 400, 'BadRequest'],
        [{ floating_network_id: bgp, rate_limit: 'x' }, 400, 'HTTPBadRequest'],
        [{ floating_network_id: bgp, fixed_ip_address: port.ipAddress }, 400, 'BadRequest'],
        [{ floating_network_id: bgp, port_id: port.id }, 409, 'FloatingIPPortAlreadyAssociated'],
        [{ floating_network_id: bgp, port_id: lonely.id }, 404, 'ExternalGatewayForFloatingIPNotFound'],
        [{ floating_network_id: bgp, port_id: theirs.id }, 404, 'PortNotFound'],
        [{ floating_network_id: bgp, port_id: NOWHERE }, 404, 'PortNotFound'],
        [{ floating_network_id: bgp, subnet_id: NOWHERE }, 400, 'InvalidInput'],
      ]
      const changes: [Body, number, NetworkErrorType][] = [
        [{ port_id: port.id }, 409, 'FloatingIPPortAlreadyAssociated'],
        [{ port_id: lonely.id }, 404, 'ExternalGatewayForFloatingIPNotFound'],
        [{ port_id: theirs.id }, 404, 'PortNotFound'],
        [{ port_id: several.id }, 400, 'BadRequest'],
        [{ port_id: several.id, fixed_ip_address: port.ipAddress }, 400, 'BadRequest'],
        [{ fixed_ip_address: port.ipAddress }, 400, 'BadRequest'],
        [{ port_id: null, fixed_ip_address: port.ipAddress }, 400, 'BadRequest'],
        [{ port_id: 7 }, 400, 'HTTPBadRequest'],
        [{ rate_limit: 0 }, 400, 'HTTPBadRequest'],
      ]
      const before = await countRows(cloud)
      for (const dialect of BOTH) {
        for (const [wish, status, type] of creates) {
          const answer = await client.post(`${dialect}/floatingips`, { floatingip: wish })
          assertNetworkError(answer, status, type, JSON.stringify(wish))
        }
        for (const [wish, status, type] of changes) {
          assertNetworkError(await change(client, free.id, wish, dialect), status, type, JSON.stringify(wish))
        }
        for (const id of [foreign.id, NOWHERE]) {
          const place = `${dialect}/floatingips/${id}`
          assertNetworkError(await client.get(place), 404, 'FloatingIPNotFound')
          assertNetworkError(await client.delete(place), 404, 'FloatingIPNotFound')
          assertNetworkError(await change(client, id, { port_id: null }, dialect), 404, 'FloatingIPNotFound')
        }
      }
      const readOnly = await change(client, free.id, { router_id: NOWHERE }, neutron)
      assertNetworkError(readOnly, 400, 'HTTPBadRequest')
      assert.deepEqual(await countRows(cloud), before)
      assert.equal((await show(client, free.id)).port_id, null)
      assert.equal((await show(client, bound.id)).port_id, port.id)

      const chosen = { port_id: several.id, fixed_ip_address: second }
      assert.equal(bodyOf(await change(client, free.id, chosen), 200).floatingip.fixed_ip_address, second)
      const moved = bodyOf(await change(client, free.id, { fixed_ip_address: several.ipAddress }), 200).floatingip
      assert.deepEqual([moved.port_id, moved.fixed_ip_address], [several.id, several.ipAddress])
    })

    test('of many who bind to one port at once, one does', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const { bgp, shared: inside } = await seeded(cloud)
      const port = await addPort(cloud, { projectId: client.projectId, networkId: inside })
      const ids: string[] = []
      for (let i = 0; i < 6; i++) ids.push((await make(client, 'floatingips', { floating_network_id: bgp })).id)
      const answers = await Promise.all(ids.map((id) => change(client, id, { port_id: port.id })))
      assert.deepEqual(answers.map(({ statusCode }) => statusCode).sort(), [200, ...Array(5).fill(409)])
    })

    test('a port that goes lets go of its floating IP, which stays', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const { bgp, shared: inside, routerId } = await seeded(cloud)
      const port = await addPort(cloud, { projectId: client.projectId, networkId: inside })
      const { id } = await make(client, 'floatingips', { floating_network_id: bgp, port_id: port.id })
      await cloud.settled()
      assert.ok(planned(cloud, routerId, id))
      await cloud.cloud.db.transaction((tx) => deletePorts(cloud.cloud, tx, [port.id]))
      await cloud.settled()
      const { port_id, router_id, fixed_ip_address, status } = await show(client, id)
      assert.deepEqual([port_id, router_id, fixed_ip_address, status], [null, null, null, 'DOWN'])
      assert.equal(planned(cloud, routerId, id), undefined)
    })

    test('while a floating IP leads through a router, neither its gateway nor the interface goes', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const { bgp } = await seeded(cloud)
      const networkId = await addNetwork(cloud, { projectId: client.projectId, cidr: '10.30.0.0/24' })
      const router = await make(client, 'routers', { external_gateway_info: { network_id: bgp } })
      const { id: subnet_id } = await cloud.cloud.db.read
        .selectFrom('subnets')
        .select('id')
        .where('networkId', '=', networkId)
        .executeTakeFirstOrThrow()
      const place = `${neutron}/routers/${router.id}`
      bodyOf(await client.put(`${place}/add_router_interface`, { subnet_id }), 200)
      const port = await addPort(cloud, { projectId: client.projectId, networkId })
      const { id } = await make(client, 'floatingips', { floating_network_id: bgp, port_id: port.id })
      assert.equal((await show(client, id)).router_id, router.id)
      const leave = () => client.put(`${place}/remove_router_interface`, { subnet_id })
      const clear = () => client.put(place, { router: { external_gateway_info: null } })
      assertNetworkError(await leave(), 409, 'RouterInterfaceInUseByFloatingIP')
      assertNetworkError(await clear(), 409, 'RouterExternalGatewayInUseByFloatingIp')
      bodyOf(await client.delete(`${uos}/floatingips/${id}`), 204)
      bodyOf(await clear(), 200)
      bodyOf(await leave(), 200)
      bodyOf(await client.delete(place), 204)
    })

    test("on a shared network it leads through the gateway's router or one's own, never another project's", async () => {
      const cloud = shared()
      const [client, other] = [await cloud.stranger(), await cloud.stranger()]
      const { bgp } = await seeded(cloud)
      const networkId = await addNetwork(cloud, { projectId: cloud.admin.projectId, cidr: '10.31.0.0/24' })
      await cloud.cloud.db.transaction(async (tx) => {
        await tx.updateTable('networks').set({ isShared: 1 }).where('id', '=', networkId).execute()
      })
      const join = async (owner: Client) => {
        const router = await make(owner, 'routers', { external_gateway_info: { network_id: bgp } })
        const { id: port_id } = await addPort(cloud, { projectId: owner.projectId, networkId })
        bodyOf(await owner.put(`${neutron}/routers/${router.id}/add_router_interface`, { port_id }), 200)
        return router.id
      }
      await join(other)
      const port = await addPort(cloud, { projectId: client.projectId, networkId })
      const { id } = await make(client, 'floatingips', { floating_network_id: bgp })
      const bind = () => change(client, id, { port_id: port.id })
      assertNetworkError(await bind(), 404, 'ExternalGatewayForFloatingIPNotFound')
      const own = await join(client)
      assert.equal(bodyOf(await bind(), 200).floatingip.router_id, own)
    })

    test('a pool is given out to the last address and no further, also at once; what comes back is given again', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const networkId = await addNetwork(cloud, { projectId: cloud.admin.projectId, cidr: '192.0.2.0/28' })
      await cloud.cloud.db.transaction(async (tx) => {
        await tx.updateTable('networks').set({ isExternal: 1 }).where('id', '=', networkId).execute()
      })
      const create = () => client.post(`${uos}/floatingips`, { floatingip: { floating_network_id: networkId } })
      const answers = await Promise.all(Array.from({ length: 16 }, create))
      const made = answers.filter(({ statusCode }) => statusCode === 201).map((answer) => answer.json().floatingip)
      assert.equal(new Set(made.map(({ floating_ip_address: address }) => address)).size, 13)
      for (const answer of answers.filter(({ statusCode }) => statusCode !== 201)) {
        assertNetworkError(answer, 409, 'IpAddressGenerationFailure')
      }
      bodyOf(await client.delete(`${uos}/floatingips/${made[7].id}`), 204)
      assert.equal(bodyOf(await create(), 201).floatingip.floating_ip_address, made[7].floating_ip_address)
    })

    test('a project has fifty', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const { bgp } = await seeded(cloud)
      for (let i = 0; i < 50; i++) await make(client, 'floatingips', { floating_network_id: bgp })
      const answer = await client.post(`${uos}/floatingips`, { floatingip: { floating_network_id: bgp } })
      assertNetworkError(answer, 409, 'OverQuota')
    })
  })
}
