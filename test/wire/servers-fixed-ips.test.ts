/** `addFixedIp` and `removeFixedIp`. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { describe, test } from 'node:test'
import { assertFault } from '../support/assert-fault.ts'
import { countRows } from '../support/count-rows.ts'
import { addNetwork, addPort } from '../support/network-rows.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { DATABASES, type TestCloud } from '../support/test-cloud.ts'

const act = (cloud: TestCloud, body: object, name = 'web') =>
  cloud.member.post(`/servers/${cloud.id[name]}/action`, body)

/** The addresses of the server by network, sorted, as the API tells them. */
async function addressesOf(cloud: TestCloud, name = 'web'): Promise<Record<string, string[]>> {
  const { addresses } = (await cloud.member.get(`/servers/${cloud.id[name]}/ips`)).json()
  const entries = Object.entries(addresses as Record<string, { addr: string }[]>)
  return Object.fromEntries(entries.map(([network, all]) => [network, all.map(({ addr }) => addr).sort()]))
}

const onHost = (cloud: TestCloud, portId: string) =>
  (cloud.machine.ports.get(portId)?.addresses ?? []).map(({ ipAddress }) => ipAddress).sort()

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database, servers: { web: {} } })

    test('a card gets another address, its host follows, and it gives up the one that is named', async () => {
      const cloud = shared()
      const [card] = (await cloud.member.get(`/servers/${cloud.id.web}/os-interface`)).json().interfaceAttachments
      const [{ ip_address: first }] = card.fixed_ips
      const answer = await act(cloud, { addFixedIp: { networkId: card.net_id } })
      assert.equal(answer.statusCode, 202, answer.body)
      assert.equal(answer.body, '')
      await cloud.settled()
      const { shared: both = [] } = await addressesOf(cloud)
      assert.equal(both.length, 2)
      assert.ok(both.includes(first))
      assert.deepEqual(onHost(cloud, card.port_id), both)
      assert.equal((await act(cloud, { removeFixedIp: { address: first } })).statusCode, 202)
      await cloud.settled()
      const left = both.filter((address) => address !== first)
      assert.deepEqual(await addressesOf(cloud), { shared: left })
      assert.deepEqual(onHost(cloud, card.port_id), left)
      assertFault(await act(cloud, { removeFixedIp: { address: first } }), 400, /has no fixed address/)
    })

    test('a floating IP that led to an address that goes leads nowhere', async () => {
      const cloud = shared()
      const { db, clock } = cloud.cloud
      const { projectId } = cloud.member
      const [card] = (await cloud.member.get(`/servers/${cloud.id.web}/os-interface`)).json().interfaceAttachments
      const [{ ip_address: address }] = card.fixed_ips
      const { id: external } = await db.read
        .selectFrom('networks')
        .select('id')
        .where('isExternal', '=', 1)
        .executeTakeFirstOrThrow()
      const holder = await addPort(cloud, { projectId, networkId: external })
      const id = randomUUID()
      const now = clock.now()
      await db.transaction((tx) =>
        tx
          .insertInto('floatingIps')
          .values({
            id,
            projectId,
            name: '',
            description: '',
            floatingNetworkId: external,
            floatingPortId: holder.id,
            floatingIpAddress: holder.ipAddress,
            portId: card.port_id,
            fixedIpAddress: address,
            routerId: null,
            status: 'ACTIVE',
            rateLimitKbps: 0,
            registerno: '',
            serviceProvider: '',
            dnsName: '',
            createdAt: now,
            updatedAt: now,
          })
          .execute(),
      )
      assert.equal((await act(cloud, { removeFixedIp: { address } })).statusCode, 202)
      await cloud.settled()
      const floatingIp = await db.read
        .selectFrom('floatingIps')
        .select(['portId', 'fixedIpAddress', 'status'])
        .where('id', '=', id)
        .executeTakeFirst()
      assert.deepEqual({ ...floatingIp }, { portId: null, fixedIpAddress: null, status: 'DOWN' })
      assert.deepEqual(await addressesOf(cloud), {})
      assert.deepEqual(onHost(cloud, card.port_id), [])
      assert.equal((await act(cloud, { addFixedIp: { networkId: card.net_id } })).statusCode, 202)
      await cloud.settled()
    })

    test('what cannot be is refused and changes nothing', async () => {
      const cloud = shared()
      const { projectId } = cloud.member
      const small = await addNetwork(cloud, { projectId, cidr: '10.30.0.0/30', name: 'small' })
      const other = await addNetwork(cloud, { projectId, cidr: '10.31.0.0/24', name: 'other' })
      const interfaceAttachment = { net_id: small }
      await cloud.member.post(`/servers/${cloud.id.web}/os-interface`, { interfaceAttachment })
      await cloud.settled()
      const stranger = await cloud.stranger()
      const before = await countRows(cloud)
      const refused: [status: number, message: RegExp, body: object][] = [
        [400, /has no port on network/, { addFixedIp: { networkId: other } }],
        [400, /has no port on network/, { addFixedIp: { networkId: randomUUID() } }],
        [400, /address/, { addFixedIp: { networkId: small } }],
        [400, /networkId/, { addFixedIp: {} }],
        [400, /networkId/, { addFixedIp: { networkId: 5 } }],
        [400, /addFixedIp/, { addFixedIp: null }],
        [400, /has no fixed address/, { removeFixedIp: { address: '10.30.0.9' } }],
        [400, /has no fixed address/, { removeFixedIp: { address: "' or 1=1" } }],
        [400, /address/, { removeFixedIp: {} }],
      ]
      for (const [status, message, body] of refused) {
        assertFault(await act(cloud, body), status, message, JSON.stringify(body))
      }
      for (const body of [{ addFixedIp: { networkId: small } }, { removeFixedIp: { address: '10.30.0.2' } }]) {
        assertFault(await stranger.post(`/servers/${cloud.id.web}/action`, body), 404, /could not be found/)
      }
      assert.deepEqual(await countRows(cloud), before)
    })

    test('states that do not allow it refuse both', async () => {
      const cloud = shared()
      const [card] = (await cloud.member.get(`/servers/${cloud.id.web}/os-interface`)).json().interfaceAttachments
      const bodies = [
        { addFixedIp: { networkId: card.net_id } },
        { removeFixedIp: { address: card.fixed_ips[0].ip_address } },
      ]
      const set = (change: object) =>
        cloud.cloud.db.transaction((tx) =>
          tx
            .updateTable('servers')
            .set(change)
            .where('id', '=', cloud.id.web ?? '')
            .execute(),
        )
      const before = await addressesOf(cloud)
      for (const [change, message] of [
        [{ vmState: 'error' }, /fixed_ip'.*vm_state error/],
        [{ taskState: 'powering-off' }, /fixed_ip'.*task_state powering-off/],
        [{ isLocked: 1 }, /locked/],
      ] as const) {
        await set(change)
        for (const body of bodies) assertFault(await act(cloud, body), 409, message)
        await set({ vmState: 'active', taskState: null, isLocked: 0 })
      }
      assert.deepEqual(await addressesOf(cloud), before)
    })
  })
}
