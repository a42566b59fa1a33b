/** The way out of every cloud: `BGP_subnet` and `shared-router`, there without anybody making them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Body, bodyOf, DIALECTS, make } from '../support/network-requests.ts'
import { DATABASES, type TestCloud, testCloud } from '../support/test-cloud.ts'

const { uos, neutron } = DIALECTS

/** What an earlier version had not seeded. */
async function unseed(cloud: TestCloud): Promise<void> {
  await cloud.cloud.db.transaction(async (tx) => {
    await tx.deleteFrom('counters').where('name', '=', 'edgeSeeded').execute()
    await tx.deleteFrom('ports').where('deviceOwner', 'like', 'network:router%').execute()
    await tx.deleteFrom('routers').execute()
    await tx.deleteFrom('subnets').where('name', '=', 'BGP_subnet').execute()
  })
}

async function assertSeeded(cloud: TestCloud, cidr = '172.24.4.0/24', gatewayIp = '172.24.4.1'): Promise<void> {
  const { admin } = cloud
  const subnets = cloud.cloud.db.read.selectFrom('subnets').selectAll().where('name', '=', 'BGP_subnet')
  const [outside, ...more] = await subnets.execute()
  assert.deepEqual([outside?.cidr, outside?.gatewayIp, outside?.hasDhcp, more.length], [cidr, gatewayIp, 0, 0])
  const { routers } = bodyOf(await admin.get(`${neutron}/routers`), 200)
  assert.deepEqual(
    routers.map((router: Body) => [router.name, router.project_id, router.external_gateway_info.enable_snat]),
    [['shared-router', admin.projectId, true]],
  )
  await cloud.settled()
  const plan = cloud.machine.routers.get(routers[0].id)
  assert.deepEqual(
    plan?.interfaces.flatMap(({ addresses }) => addresses.map(({ ipAddress }) => ipAddress)),
    ['172.31.248.1'],
  )
  assert.equal(plan?.gateway?.addresses[0]?.subnetId, outside?.id)
}

for (const database of DATABASES) {
  test(`${database}: a fresh cloud has a way out, once, however often it starts`, async () => {
    await using cloud = await testCloud({ database, config: { externalCidr: '203.0.113.64/26' } })
    await assertSeeded(cloud, '203.0.113.64/26', '203.0.113.65')
    await cloud.killAndStart()
    await assertSeeded(cloud, '203.0.113.64/26', '203.0.113.65')
  })

  test(`${database}: a cloud that an earlier version seeded gets it; what an admin deletes stays deleted`, async () => {
    await using cloud = await testCloud({ database })
    await unseed(cloud)
    await cloud.killAndStart()
    await assertSeeded(cloud)

    const { routers } = bodyOf(await cloud.admin.get(`${neutron}/routers`), 200)
    const place = `${neutron}/routers/${routers[0].id}`
    const { id: port_id } = await cloud.cloud.db.read
      .selectFrom('ports')
      .select('id')
      .where('deviceOwner', '=', 'network:router_interface')
      .executeTakeFirstOrThrow()
    bodyOf(await cloud.admin.put(`${place}/remove_router_interface`, { port_id }), 200)
    bodyOf(await cloud.admin.delete(place), 204)
    await cloud.killAndStart()
    assert.deepEqual(bodyOf(await cloud.admin.get(`${neutron}/routers`), 200).routers, [])
  })

  test(`${database}: where somebody has the gateway address of the shared network, no router takes it`, async () => {
    await using cloud = await testCloud({ database })
    await unseed(cloud)
    await cloud.cloud.db.transaction(async (tx) => {
      const port = await tx
        .selectFrom('portAddresses')
        .innerJoin('ports', 'ports.id', 'portAddresses.portId')
        .selectAll('portAddresses')
        .where('ports.deviceOwner', '=', 'network:dhcp')
        .executeTakeFirstOrThrow()
      await tx
        .insertInto('portAddresses')
        .values({ ...port, ipAddress: '172.31.248.1' })
        .execute()
    })
    await cloud.killAndStart()
    assert.deepEqual(bodyOf(await cloud.admin.get(`${neutron}/routers`), 200).routers, [])
    assert.equal((await cloud.member.get('/servers')).statusCode, 200)
  })

  test(`${database}: a server on the shared network gets a floating IP without anybody making a router`, async () => {
    await using cloud = await testCloud({ database, servers: { web: {} } })
    const client = cloud.member
    const { id: portId } = await cloud.cloud.db.read
      .selectFrom('ports')
      .select('id')
      .where('deviceId', '=', cloud.id.web ?? '')
      .executeTakeFirstOrThrow()
    const { id: bgp } = await cloud.cloud.db.read
      .selectFrom('networks')
      .select('id')
      .where('name', '=', 'BGP')
      .executeTakeFirstOrThrow()
    const { id } = await make(client, 'floatingips', { floating_network_id: bgp, port_id: portId })
    await cloud.settled()
    const show = async () => bodyOf(await client.get(`${uos}/floatingips/${id}`), 200).floatingip
    assert.equal((await show()).status, 'ACTIVE')
    const routers = [...cloud.machine.routers.values()]
    assert.ok(routers.some(({ floatingIps }) => floatingIps.some(({ floatingIpId }) => floatingIpId === id)))
    assert.equal((await client.delete(`/servers/${cloud.id.web}`)).statusCode, 202)
    await cloud.settled()
    const { status, port_id, fixed_ip_address, router_id } = await show()
    assert.deepEqual([status, port_id, fixed_ip_address, router_id], ['DOWN', null, null, null])
    assert.ok([...cloud.machine.routers.values()].every(({ floatingIps }) => floatingIps.length === 0))
  })
}
