/** What S01 takes, and what comes of it. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { assertRequestIds } from '../support/assert-fault.ts'
import { countRows } from '../support/count-rows.ts'
import { addNetwork, addPort } from '../support/network-rows.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { type Answer, type Client, DATABASES, type TestCloud, testCloud } from '../support/test-cloud.ts'

const SHARED = 'ba05e057-1eb8-4cb2-af58-9b99a72df5ed'

type Body = Record<string, unknown>
interface Detail extends Body {
  id: string
  name: string
  addresses: Record<string, (Body & { addr: string })[]>
  security_groups: { port_id: string; name: string; id: string }[]
}

/** Creates with a change, lets it build, and answers the full views, in the order of their numbers. */
async function create(cloud: TestCloud, change: Body = {}, client = cloud.member): Promise<Detail[]> {
  const answer = await client.post('/servers', await cloud.wish(change))
  assert.equal(answer.statusCode, 202, answer.body)
  await cloud.settled()
  const { reservationId } = await cloud.server(answer.json().server.id)
  return (await list(client, `reservation_id=${reservationId}`)).reverse()
}

async function list(client: Client, query: string): Promise<Detail[]> {
  const { servers } = (await client.get(`/servers/detail?${query}`)).json()
  return servers.sort((a: Body, b: Body) =>
    String(a['OS-EXT-SRV-ATTR:instance_name']) < String(b['OS-EXT-SRV-ATTR:instance_name']) ? 1 : -1,
  )
}

async function one(cloud: TestCloud, change: Body = {}, client = cloud.member): Promise<Detail> {
  const [server, another] = await create(cloud, change, client)
  assert.ok(server && !another)
  return server
}

const addressesOf = (servers: Detail[]) =>
  servers.flatMap((server) => Object.values(server.addresses).flatMap((entries) => entries.map(({ addr }) => addr)))

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database })

    test('an accepted server becomes active, and its action says so', async () => {
      const cloud = shared()
      const answer = await cloud.member.post('/servers', await cloud.wish({ name: 'first' }))
      assert.equal(answer.statusCode, 202)
      assertRequestIds(answer)
      const { id } = answer.json().server
      await cloud.settled()
      const { server } = (await cloud.member.get(`/servers/${id}`)).json()
      assert.deepEqual(
        [server.status, server['OS-EXT-STS:task_state'], server['OS-EXT-STS:power_state']],
        ['ACTIVE', null, 1],
      )
      assert.deepEqual(await cloud.actions(id), ['create Success'])
    })

    test('the fields of the wish are those of the server', async () => {
      const cloud = shared()
      const { keypair } = (await cloud.member.post('/os-keypairs', { keypair: { name: 'key' } })).json()
      const userData = Buffer.from('#!/bin/sh\necho hello\n').toString('base64')
      const server = await one(cloud, {
        name: '  веб ☁  ',
        key_name: 'key',
        metadata: { 'a.b:c d-e_f': 'ü', empty: '' },
        user_data: userData,
        availability_zone: 'nova',
        accessIPv4: '198.51.100.7',
        accessIPv6: '2001:db8::1',
        'OS-DCF:diskConfig': 'AUTO',
        config_drive: true,
        personality: [],
        unheard_of: { a: [1] },
      })
      assert.equal(server.name, 'веб ☁')
      assert.equal(server.key_name, 'key')
      assert.deepEqual(server.metadata, { 'a.b:c d-e_f': 'ü', empty: '' })
      assert.equal(server['OS-EXT-AZ:availability_zone'], 'nova')
      assert.equal(server.accessIPv4, '198.51.100.7')
      assert.equal(server.accessIPv6, '2001:db8::1')
      assert.equal(server['OS-DCF:diskConfig'], 'AUTO')
      const row = await cloud.server(server.id)
      assert.deepEqual([row.publicKey, row.userData], [keypair.public_key, userData])
    })

    test('optional members may be null, where clients send that, and empty', async () => {
      const cloud = shared()
      const server = await one(cloud, {
        networks: null,
        key_name: null,
        user_data: null,
        availability_zone: null,
        accessIPv4: null,
        accessIPv6: '',
        metadata: {},
        security_groups: [],
        block_device_mapping: [],
        block_device_mapping_v2: null,
      })
      assert.deepEqual([server.key_name, server.accessIPv4, server.accessIPv6], [null, '', ''])
      assert.equal(server.security_groups.length, 1)
    })

    test('what is as long as it may be is taken', async () => {
      const cloud = shared()
      const name = '☁'.repeat(255)
      const userData = 'A'.repeat(65_532)
      const metadata = { ['k'.repeat(255)]: 'v'.repeat(255) }
      const server = await one(cloud, { name, user_data: userData, metadata, adminPass: 'x'.repeat(255) })
      assert.equal(server.name, name)
      assert.deepEqual(server.metadata, metadata)
      const many = Object.fromEntries(Array.from({ length: 128 }, (_, n) => [`key${n}`, String(n)]))
      assert.deepEqual((await one(cloud, { metadata: many })).metadata, many)
    })

    test('user data may be wrapped into lines', async () => {
      const cloud = shared()
      await one(cloud, { user_data: 'aGVs\nbG8g\r\nd29ybGQ=\n' })
    })

    test('flavor and image may be URLs that end in the id', async () => {
      const cloud = shared()
      const { server: wish } = await cloud.wish()
      const server = await one(cloud, {
        flavorRef: `http://cloud.example/v2/p/flavors/${wish.flavorRef}`,
        imageRef: `http://cloud.example/v2/images/${wish.imageRef}/`,
      })
      assert.equal((server.flavor as Body).id, wish.flavorRef)
      assert.equal((server.image as Body).id, wish.imageRef)
    })

    test('a password that was given is the password; one that was not has twelve characters', async () => {
      const cloud = shared()
      const given = await cloud.member.post('/servers', await cloud.wish({ adminPass: 'given "p"' }))
      assert.equal(given.json().server.adminPass, 'given "p"')
      const row = await cloud.server(given.json().server.id)
      assert.equal(cloud.cloud.box.open(row.sealedAdminPass ?? ''), 'given "p"')
      assert.ok(!JSON.stringify(row).includes('given'))
      const made = new Set<string>()
      for (let n = 0; n < 5; n++) {
        const answer = await cloud.member.post('/servers', await cloud.wish())
        assert.match(answer.json().server.adminPass, /^[A-Za-z0-9]{12}$/)
        made.add(answer.json().server.adminPass)
      }
      assert.equal(made.size, 5)
      await cloud.settled()
      assert.ok(!cloud.logged.join('').includes('given \\"p'))
    })

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
        const servers = (await list(cloud.member, `reservation_id=${first.reservationId}`)).reverse()
        assert.deepEqual(
          servers.map(({ name }) => name),
          names,
        )
        assert.equal(new Set(addressesOf(servers)).size, names.length)
      }
    })

    test('a reservation id stands for all servers of one call', async () => {
      const cloud = shared()
      const wish = await cloud.wish({ max_count: 2, return_reservation_id: true })
      const answer = await cloud.member.post('/servers', wish)
      assert.equal(answer.statusCode, 202)
      assert.deepEqual(Object.keys(answer.json()), ['reservation_id'])
      const { reservation_id: id } = answer.json()
      assert.match(id, /^r-[a-z0-9]{8}$/)
      assert.equal((await list(cloud.member, `reservation_id=${id}`)).length, 2)
      await cloud.settled()
    })

    test('no more servers are made than the quota leaves, and none when it leaves fewer than the least', async () => {
      await using cloud = await testCloud({ database, config: { quotaServers: 5, quotaVcpus: 4 } })
      const some = await create(cloud, { min_count: 1, max_count: 9 })
      assert.equal(some.length, 4)
      const before = await countRows(cloud)
      const none = await cloud.member.post('/servers', await cloud.wish({ min_count: 1, max_count: 2 }))
      assert.equal(none.statusCode, 403)
      assert.match(none.json().forbidden.message, /cores/)
      assert.deepEqual(await countRows(cloud), before)
    })

    test('security groups are those named, each once, on every card', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const first = await one(cloud, {}, client)
      const [byDefault] = first.security_groups
      const now = cloud.clock.now()
      await cloud.cloud.db.transaction((tx) =>
        tx
          .insertInto('securityGroups')
          .values({ id: 'group-web', projectId: client.projectId, name: 'web', description: '', createdAt: now })
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
      const group = { projectId: client.projectId, name: 'twin', description: '', createdAt: cloud.clock.now() }
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
      const server = await one(cloud, { security_groups: [{ name: ids[1] }] }, client)
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
      const server = await one(cloud, { networks: [{ uuid: bare }] }, client)
      assert.equal(server.status, 'ACTIVE')
      assert.deepEqual(server.addresses, {})
      assert.equal(server.security_groups.length, 1)
    })

    test('an address that was asked for is given, and is free again with the server', async () => {
      const cloud = shared()
      const networks = [{ uuid: SHARED, fixed_ip: '172.31.251.77' }]
      for (let round = 0; round < 2; round++) {
        const server = await one(cloud, { networks })
        assert.deepEqual(addressesOf([server]), ['172.31.251.77'])
        await cloud.member.delete(`/servers/${server.id}`)
        await cloud.settled()
      }
    })

    test('a port that was made before is taken as it is, and stays when the server goes', async () => {
      const cloud = shared()
      const port = await addPort(cloud, { projectId: cloud.member.projectId, networkId: SHARED })
      const server = await one(cloud, { networks: [{ port: port.id }, { uuid: SHARED }] })
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
      const again = await one(cloud, { networks: [{ port: port.id }] })
      assert.deepEqual(addressesOf([again]), [port.ipAddress])
    })

    test('cards come in the order of the wish, under the names of their networks', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const mine = await addNetwork(cloud, { projectId: client.projectId, cidr: '10.7.0.0/24', name: 'mine' })
      const server = await one(cloud, { networks: [{ uuid: mine }, { uuid: SHARED }, { uuid: mine }] }, client)
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
      const servers = await list(client, 'status=ACTIVE')
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

    test('creates at once do not get past the quota together', async () => {
      await using cloud = await testCloud({ database, config: { quotaServers: 3 } })
      const wish = await cloud.wish()
      const answers = await Promise.all(Array.from({ length: 10 }, () => cloud.member.post('/servers', wish)))
      const count = (status: number) => answers.filter(({ statusCode }) => statusCode === status).length
      assert.deepEqual([count(202), count(403)], [3, 7])
      await cloud.settled()
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
      const servers = await list(client, '')
      assert.deepEqual(addressesOf(servers).sort(), ['10.8.0.2', '10.8.0.3', '10.8.0.4', '10.8.0.5', '10.8.0.6'])
      const before = await countRows(cloud)
      const refused = await client.post('/servers', wish)
      assert.equal(refused.statusCode, 409)
      assert.match(refused.json().conflictingRequest.message, new RegExp(`No more addresses.*${network}`))
      assert.deepEqual(await countRows(cloud), before)
      await client.delete(`/servers/${servers[0]?.id}`)
      await cloud.settled()
      const freed = addressesOf(servers.slice(0, 1))
      const server = await one(cloud, { networks: [{ uuid: network }] }, client)
      assert.deepEqual(addressesOf([server]), freed)
    })

    test('a build that no host has room for ends in ERROR with the reason, and leaves nothing', async () => {
      await using cloud = await testCloud({
        database,
        memory: { facts: { vcpus: 1, ramMib: 64, diskGib: 1 } },
        config: { ramRatio: 1 },
      })
      const before = await countRows(cloud)
      const { id } = (await cloud.member.post('/servers', await cloud.wish())).json().server
      await cloud.settled()
      const { server } = (await cloud.member.get(`/servers/${id}`)).json()
      assert.equal(server.status, 'ERROR')
      assert.equal(server.progress, undefined)
      assert.match(server.fault.message, /No valid host.*test-host.*64 MiB.*128 are needed/)
      assert.match(server.fault.created, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
      assert.deepEqual(server.addresses, {})
      assert.deepEqual([server.hostId, server['OS-EXT-SRV-ATTR:host']], ['', ''])
      const after = await countRows(cloud)
      for (const table of ['ports', 'portAddresses', 'portSecurityGroups', 'claims'] as const) {
        assert.equal(after[table], before[table], table)
      }
      for (const body of [{ 'os-start': null }, { 'os-stop': null }, { reboot: { type: 'HARD' } }]) {
        assert.equal((await cloud.member.post(`/servers/${id}/action`, body)).statusCode, 409)
      }
      assert.equal((await cloud.member.delete(`/servers/${id}`)).statusCode, 202)
      await cloud.settled()
      assert.equal((await cloud.member.get(`/servers/${id}`)).statusCode, 404)
    })
  })
}
