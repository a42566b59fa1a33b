/** Networks, ports, addresses and security groups of S01. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { countRows } from '../support/count-rows.ts'
import { addressesOf, type Body, createServer, type Detail, listServers, SHARED } from '../support/create-servers.ts'
import { addNetwork, addPort, freeAddress } from '../support/network-rows.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { type Answer, DATABASES } from '../support/test-cloud.ts'

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database })

    test('several servers are numbered from 1, and the answer shows the first', async () => {
      const cloud = shared()
      for (const [counts, names] of [
        [{ max_count: 3 }, ['web-1', 'web-2', 'web-3']],
        [{ min_count: 2 }, ['web-1', 'web-2']],
        [{ min_count: '1', max_count: '2' }, ['web-1', 'web-2']],
        [{ min_count: 1, max_count: 1 }, ['web']],
        [{ max_count: '02' }, ['web-1', 'web-2']],
      ] as const) {
        const answer = await cloud.member.post('/servers', await cloud.wish(counts))
        assert.equal(answer.statusCode, 202, answer.body)
        await cloud.settled()
        const first = await cloud.server(answer.json().server.id)
        assert.equal(first.name, names[0])
        const servers = (await listServers(cloud.member, `reservation_id=${first.reservationId}`)).reverse()
        assert.deepEqual(
          servers.map(({ name }) => name),
          names,
        )
        assert.equal(new Set(addressesOf(servers)).size, names.length)
      }
    })

    test('cards count as ports of the project, and those that were made before do not count again', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      await createServer(cloud, {}, client)
      const { projectId } = client
      await cloud.cloud.db.transaction((tx) =>
        tx.insertInto('networkQuotas').values({ projectId, resource: 'port', most: 2 }).execute(),
      )
      const before = await countRows(cloud)
      const refused = await client.post('/servers', await cloud.wish({ max_count: 2, min_count: 2 }))
      assert.equal(refused.statusCode, 403, refused.body)
      assert.match(refused.json().forbidden.message, /Quota exceeded.*port/)
      assert.deepEqual(await countRows(cloud), before)
      const { id: port } = await addPort(cloud, { projectId, networkId: SHARED })
      await createServer(cloud, { networks: [{ port }] }, client)
      assert.equal((await client.post('/servers', await cloud.wish())).statusCode, 403)
    })

    test('security groups are those named, each once, on every card', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const first = await createServer(cloud, {}, client)
      const [byDefault] = first.security_groups
      const now = cloud.clock.now()
      await cloud.cloud.db.transaction((tx) =>
        tx
          .insertInto('securityGroups')
          .values({
            id: 'group-web',
            projectId: client.projectId,
            name: 'web',
            description: '',
            createdAt: now,
            updatedAt: now,
          })
          .execute(),
      )
      const groups = [{ name: 'web' }, { name: 'default' }, { name: 'web' }, { name: 'group-web' }]
      const answer = await client.post('/servers', await cloud.wish({ security_groups: groups }))
      assert.deepEqual(answer.json().server.security_groups, groups)
      await cloud.settled()
      const { server } = (await client.get(`/servers/${answer.json().server.id}`)).json()
      const [address] = server.addresses.shared
      assert.equal(server.addresses.shared.length, 1)
      assert.deepEqual(
        server.security_groups.toSorted((a: Body, b: Body) => (String(a.name) < String(b.name) ? -1 : 1)),
        [
          { port_id: address['UOS-EXT-IPS:id'], name: 'default', id: byDefault?.id },
          { port_id: address['UOS-EXT-IPS:id'], name: 'web', id: 'group-web' },
        ],
      )
      const without = await client.post('/servers', await cloud.wish({ security_groups: [] }))
      assert.deepEqual(without.json().server.security_groups, [{ name: 'default' }])
      await cloud.settled()
    })

    test('a group name that stands for several is a conflict, and an id helps', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const group = {
        projectId: client.projectId,
        name: 'twin',
        description: '',
        createdAt: cloud.clock.now(),
        updatedAt: cloud.clock.now(),
      }
      const ids = ['twin-1', 'twin-2'].map((name) => `${client.projectId}-${name}`)
      await cloud.cloud.db.transaction((tx) =>
        tx
          .insertInto('securityGroups')
          .values(ids.map((id) => ({ id, ...group })))
          .execute(),
      )
      const answer = await client.post('/servers', await cloud.wish({ security_groups: [{ name: 'twin' }] }))
      assert.equal(answer.statusCode, 409)
      assert.match(answer.json().conflictingRequest.message, /twin/)
      const server = await createServer(cloud, { security_groups: [{ name: ids[1] }] }, client)
      assert.deepEqual(
        server.security_groups.map(({ id }) => id),
        [ids[1]],
      )
    })

    test('a network without a subnet gives a card without an address', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const bare = await addNetwork(cloud, { projectId: client.projectId, cidr: '10.6.0.0/24', name: 'bare' })
      await cloud.cloud.db.transaction((tx) => tx.deleteFrom('subnets').where('networkId', '=', bare).execute())
      const server = await createServer(cloud, { networks: [{ uuid: bare }] }, client)
      assert.equal(server.status, 'ACTIVE')
      assert.deepEqual(server.addresses, {})
      assert.equal(server.security_groups.length, 1)
    })

    test('an address that was asked for is given, and is free again with the server', async () => {
      const cloud = shared()
      const address = await freeAddress(cloud)
      const networks = [{ uuid: SHARED, fixed_ip: address }]
      for (let round = 0; round < 2; round++) {
        const server = await createServer(cloud, { networks })
        assert.deepEqual(addressesOf([server]), [address])
        await cloud.member.delete(`/servers/${server.id}`)
        await cloud.settled()
      }
    })

    test('a port that was made before is taken as it is, and stays when the server goes', async () => {
      const cloud = shared()
      const port = await addPort(cloud, { projectId: cloud.member.projectId, networkId: SHARED })
      const server = await createServer(cloud, { networks: [{ port: port.id }, { uuid: SHARED }] })
      const [first, second] = server.addresses.shared ?? []
      assert.deepEqual([first?.['UOS-EXT-IPS:id'], first?.addr], [port.id, port.ipAddress])
      assert.ok(second && second.addr !== port.ipAddress)
      const { db } = cloud.cloud
      const readPorts = () =>
        db.read
          .selectFrom('ports')
          .select(['id', 'deviceId', 'deviceOwner', 'status'])
          .where('id', 'in', [port.id, String(second['UOS-EXT-IPS:id'])])
          .execute()
      assert.deepEqual(
        (await readPorts()).map(({ deviceId, status }) => [deviceId, status]),
        [
          [server.id, 'ACTIVE'],
          [server.id, 'ACTIVE'],
        ],
      )
      await cloud.member.delete(`/servers/${server.id}`)
      await cloud.settled()
      assert.deepEqual(
        (await readPorts()).map(({ id, deviceId, deviceOwner, status }) => [id, deviceId, deviceOwner, status]),
        [[port.id, '', '', 'DOWN']],
      )
      const again = await createServer(cloud, { networks: [{ port: port.id }] })
      assert.deepEqual(addressesOf([again]), [port.ipAddress])
    })

    test('cards come in the order of the wish, under the names of their networks', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const mine = await addNetwork(cloud, { projectId: client.projectId, cidr: '10.7.0.0/24', name: 'mine' })
      const server = await createServer(cloud, { networks: [{ uuid: mine }, { uuid: SHARED }, { uuid: mine }] }, client)
      assert.deepEqual(Object.keys(server.addresses), ['mine', 'shared'])
      assert.equal(server.addresses.mine?.length, 2)
      assert.equal(server.addresses.mine?.[0]?.['UOS-EXT-IPS:subnet_shared'], false)
      assert.equal(server.addresses.shared?.[0]?.['UOS-EXT-IPS:subnet_shared'], true)
      const positions = await cloud.cloud.db.read
        .selectFrom('ports')
        .select('networkId')
        .where('deviceId', '=', server.id)
        .orderBy('position')
        .execute()
      assert.deepEqual(
        positions.map(({ networkId }) => networkId),
        [mine, SHARED, mine],
      )
    })

    test('twenty creates at once get twenty addresses, MACs, numbers and instance names', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const wish = await cloud.wish()
      const answers = await Promise.all(Array.from({ length: 20 }, () => client.post('/servers', wish)))
      assert.deepEqual(new Set(answers.map(({ statusCode }) => statusCode)), new Set([202]))
      await cloud.settled()
      const servers = await listServers(client, 'status=ACTIVE')
      assert.equal(servers.length, 20)
      for (const read of [
        (server: Detail) => server.id,
        (server: Detail) => server.addresses.shared?.[0]?.addr,
        (server: Detail) => server.addresses.shared?.[0]?.['OS-EXT-IPS-MAC:mac_addr'],
        (server: Detail) => server['OS-EXT-SRV-ATTR:instance_name'],
      ]) {
        assert.equal(new Set(servers.map(read)).size, 20)
      }
      assert.equal(new Set(servers.map((server) => server.security_groups[0]?.id)).size, 1)
    })

    test('a subnet gives out each of its addresses once, and then says that none is left', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const network = await addNetwork(cloud, { projectId: client.projectId, cidr: '10.8.0.0/29' })
      const wish = await cloud.wish({ networks: [{ uuid: network }] })
      const answers: Answer[] = await Promise.all(Array.from({ length: 5 }, () => client.post('/servers', wish)))
      await cloud.settled()
      assert.deepEqual(
        answers.map(({ statusCode }) => statusCode),
        [202, 202, 202, 202, 202],
      )
      const servers = await listServers(client, '')
      assert.deepEqual(addressesOf(servers).sort(), ['10.8.0.2', '10.8.0.3', '10.8.0.4', '10.8.0.5', '10.8.0.6'])
      const before = await countRows(cloud)
      const refused = await client.post('/servers', wish)
      assert.equal(refused.statusCode, 409)
      assert.match(refused.json().conflictingRequest.message, new RegExp(`No more addresses.*${network}`))
      assert.deepEqual(await countRows(cloud), before)
      await client.delete(`/servers/${servers[0]?.id}`)
      await cloud.settled()
      const freed = addressesOf(servers.slice(0, 1))
      const server = await createServer(cloud, { networks: [{ uuid: network }] }, client)
      assert.deepEqual(addressesOf([server]), freed)
    })
  })
}
