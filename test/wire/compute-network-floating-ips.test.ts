/** The vendor's quick start under the compute API: a floating IP from a pool, led to a server. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { assertFault } from '../support/assert-fault.ts'
import { createServer, SHARED } from '../support/create-servers.ts'
import { addNetwork } from '../support/network-rows.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { type Answer, type Client, DATABASES, type TestCloud, testCloud } from '../support/test-cloud.ts'

const PATH = '/os-floating-ips'
const NOBODY = '00000000-0000-4000-8000-000000000000'

interface FloatingIp {
  id: string
  ip: string
  pool: string
  fixed_ip: string | null
  instance_id: string | null
}

for (const database of DATABASES) {
  describe(database, () => {
    const cloud = sharedCloud({ database })

    test('the pools are the external networks', async () => {
      const answer = await cloud().member.get('/os-floating-ip-pools')
      assert.deepEqual(answer.json(), { floating_ip_pools: [{ name: 'BGP' }] })
    })

    test('an address from a pool is listed, shown and given back', async () => {
      const stranger = await cloud().stranger()
      assert.deepEqual((await stranger.get(PATH)).json(), { floating_ips: [] })
      const floatingIp = await allocate(stranger)
      const { id, ip, ...rest } = floatingIp
      assert.deepEqual(rest, { pool: 'BGP', fixed_ip: null, instance_id: null })
      assert.deepEqual((await stranger.get(PATH)).json(), { floating_ips: [floatingIp] })
      assert.deepEqual((await stranger.get(`${PATH}/${id}`)).json(), { floating_ip: floatingIp })
      assert.deepEqual((await cloud().member.get(PATH)).json(), { floating_ips: [] })
      assertFault(await cloud().member.get(`${PATH}/${id}`), 404, /not found/)
      assertFault(await cloud().member.delete(`${PATH}/${id}`), 404, /not found/)
      const released = await stranger.delete(`${PATH}/${id}`)
      assert.deepEqual([released.statusCode, released.body], [202, ''])
      assertFault(await stranger.get(`${PATH}/${id}`), 404, /not found/)
      const { read } = cloud().cloud.db
      const held = await read.selectFrom('portAddresses').select('ipAddress').where('ipAddress', '=', ip).execute()
      assert.deepEqual(held, [])
    })

    test('without a pool the address comes from the default one; an unknown pool has none', async () => {
      const { member } = cloud()
      for (const body of [undefined, {}, { pool: null }]) {
        const answer = await member.post(PATH, body)
        assert.equal(answer.json().floating_ip.pool, 'BGP', answer.body)
        await member.delete(`${PATH}/${answer.json().floating_ip.id}`)
      }
      assertFault(await member.post(PATH, { pool: 'nowhere' }), 404, /pool nowhere not found/)
      assertFault(await member.post(PATH, { pool: 'shared' }), 404, /pool shared not found/)
      assertFault(await member.post(PATH, { pool: 7 }), 400, /pool/)
    })

    test('an exhausted quota is 403, and readers take no addresses', async () => {
      const stranger = await cloud().stranger()
      const { projectId } = stranger
      await cloud().cloud.db.transaction((tx) =>
        tx.insertInto('networkQuotas').values({ projectId, resource: 'floatingip', most: 1 }).execute(),
      )
      await allocate(stranger)
      assertFault(await stranger.post(PATH, { pool: 'BGP' }), 403, /Quota exceeded/)
      assertFault(await (await cloud().stranger('reader')).post(PATH, {}), 403, /network:write/)
    })
  })

  test(`${database}: the quick start leads an address from outside to the server, and its host follows`, async () => {
    await using cloud = await testCloud({ database })
    const { member } = cloud
    const server = await createServer(cloud)
    const { id, ip } = await allocate(member)
    const answer = await act(member, server.id, { addFloatingIp: { address: ip } })
    assert.deepEqual([answer.statusCode, answer.body], [202, ''])
    await cloud.settled()
    const fixed = server.addresses.shared?.[0]?.addr
    const { floating_ip: bound } = (await member.get(`${PATH}/${id}`)).json()
    assert.deepEqual(bound, { id, ip, pool: 'BGP', fixed_ip: fixed, instance_id: server.id })
    assert.deepEqual(onHosts(cloud), [[ip, fixed]])
    assert.equal(await statusOf(cloud, id), 'ACTIVE')
    const shown = (await member.get(`/servers/${server.id}`)).json().server.addresses.shared
    assert.deepEqual(
      shown.map((entry: Record<string, unknown>) => [entry.addr, entry['OS-EXT-IPS:type'], entry.version]),
      [
        [fixed, 'fixed', 4],
        [ip, 'floating', 4],
      ],
    )

    assert.equal((await act(member, server.id, { removeFloatingIp: { address: ip } })).statusCode, 202)
    await cloud.settled()
    assert.deepEqual((await member.get(`${PATH}/${id}`)).json().floating_ip, {
      ...bound,
      fixed_ip: null,
      instance_id: null,
    })
    assert.deepEqual(onHosts(cloud), [])
    assert.equal(await statusOf(cloud, id), 'DOWN')
    assertFault(await act(member, server.id, { removeFloatingIp: { address: ip } }), 409, /not associated/)
  })

  test(`${database}: an address moves to another server, and is free again when that goes`, async () => {
    await using cloud = await testCloud({ database })
    const { member } = cloud
    const first = await createServer(cloud)
    const second = await createServer(cloud)
    const { id, ip } = await allocate(member)
    await act(member, first.id, { addFloatingIp: { address: ip } })
    assert.equal((await act(member, second.id, { addFloatingIp: { address: ip } })).statusCode, 202)
    assertFault(await act(member, first.id, { removeFloatingIp: { address: ip } }), 409, /not associated/)
    await cloud.settled()
    assert.deepEqual(onHosts(cloud), [[ip, second.addresses.shared?.[0]?.addr]])
    await member.delete(`/servers/${second.id}`)
    await cloud.settled()
    const { floating_ip: free } = (await member.get(`${PATH}/${id}`)).json()
    assert.deepEqual(free, { id, ip, pool: 'BGP', fixed_ip: null, instance_id: null })
    assert.deepEqual(onHosts(cloud), [])
    assert.equal(await statusOf(cloud, id), 'DOWN')
  })

  test(`${database}: a bound address that is given back leaves the host`, async () => {
    await using cloud = await testCloud({ database })
    const server = await createServer(cloud)
    const { id, ip } = await allocate(cloud.member)
    await act(cloud.member, server.id, { addFloatingIp: { address: ip } })
    await cloud.settled()
    assert.equal(onHosts(cloud).length, 1)
    assert.equal((await cloud.member.delete(`${PATH}/${id}`)).statusCode, 202)
    await cloud.settled()
    assert.deepEqual(onHosts(cloud), [])
  })

  test(`${database}: what does not fit together is refused and changes nothing`, async () => {
    await using cloud = await testCloud({ database })
    const { member } = cloud
    const server = await createServer(cloud)
    const { projectId } = member
    const networkId = await addNetwork(cloud, { projectId, cidr: '10.7.0.0/24' })
    const alone = await createServer(cloud, { networks: [{ uuid: networkId }] })
    const cardless = (await member.post('/servers', await cloud.wish({ networks: [{ uuid: networkId }] }))).json()
      .server.id
    await cloud.settled()
    await cloud.cloud.db.transaction((tx) => tx.deleteFrom('ports').where('deviceId', '=', cardless).execute())
    const { ip } = await allocate(member)
    const { ip: other } = await allocate(member)
    const stranger = await cloud.stranger()
    const { ip: foreign } = await allocate(stranger)
    const fixed = server.addresses.shared?.[0]?.addr
    const refusals: [string, Record<string, unknown>, number, RegExp][] = [
      [server.id, { address: '192.0.2.99' }, 404, /not found for address 192.0.2.99/],
      [server.id, { address: foreign }, 404, /not found for address/],
      [server.id, { address: ip, fixed_address: '10.9.9.9' }, 400, /10.9.9.9 is not assigned/],
      [server.id, { address: 7 }, 400, /address/],
      [server.id, {}, 400, /address/],
      [alone.id, { address: ip }, 400, /No router/],
      [cardless, { address: ip }, 400, /No fixed IPv4/],
      [NOBODY, { address: ip }, 404, /could not be found/],
    ]
    for (const [serverId, addFloatingIp, status, message] of refusals) {
      assertFault(await act(member, serverId, { addFloatingIp }), status, message, JSON.stringify(addFloatingIp))
    }
    const leaving = await createServer(cloud, { networks: [{ uuid: SHARED }] })
    await cloud.cloud.db.transaction((tx) =>
      tx.updateTable('servers').set({ taskState: 'deleting' }).where('id', '=', leaving.id).execute(),
    )
    assertFault(await act(member, leaving.id, { addFloatingIp: { address: ip } }), 409, /task_state deleting/)
    assertFault(await act(stranger, server.id, { addFloatingIp: { address: foreign } }), 404, /could not be found/)
    assertFault(await act(member, server.id, { removeFloatingIp: { address: '192.0.2.99' } }), 404, /not found/)
    await cloud.settled()
    assert.deepEqual(onHosts(cloud), [])

    assert.equal(
      (await act(member, server.id, { addFloatingIp: { address: ip, fixed_address: fixed } })).statusCode,
      202,
    )
    assertFault(await act(member, server.id, { addFloatingIp: { address: other } }), 400, /already/)
  })

  test(`${database}: two at once that want the same server's address: one gets it`, async () => {
    await using cloud = await testCloud({ database })
    const server = await createServer(cloud)
    const ips = [await allocate(cloud.member), await allocate(cloud.member)]
    const answers = await Promise.all(
      ips.map(({ ip }) => act(cloud.member, server.id, { addFloatingIp: { address: ip } })),
    )
    assert.deepEqual(answers.map(({ statusCode }) => statusCode).sort(), [202, 400])
    await cloud.settled()
    assert.equal(onHosts(cloud).length, 1)
  })
}

async function allocate(client: Client): Promise<FloatingIp> {
  const answer = await client.post(PATH, { pool: 'BGP' })
  assert.equal(answer.statusCode, 200, answer.body)
  return answer.json().floating_ip
}

const act = (client: Client, serverId: string, body: Record<string, unknown>): Promise<Answer> =>
  client.post(`/servers/${serverId}/action`, body)

/** All floating IPs that routers on the host know, as pairs of outside and inside. */
const onHosts = (cloud: TestCloud): string[][] =>
  [...cloud.machine.routers.values()].flatMap(({ floatingIps }) =>
    floatingIps.map(({ ipAddress, fixedIpAddress }) => [ipAddress, fixedIpAddress]),
  )

async function statusOf(cloud: TestCloud, id: string): Promise<string> {
  const { read } = cloud.cloud.db
  const row = await read.selectFrom('floatingIps').select('status').where('id', '=', id).executeTakeFirstOrThrow()
  return row.status
}
