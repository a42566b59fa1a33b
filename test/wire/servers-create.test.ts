/** What S01 takes, and what comes of it; cards and addresses are in servers-create-networks.test.ts. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { listServerKeypairs } from '../../src/servers/server-keypair-store.ts'
import { assertRequestIds } from '../support/assert-fault.ts'
import { countRows } from '../support/count-rows.ts'
import { type Body, createServer, createServers, listServers } from '../support/create-servers.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { DATABASES, testCloud } from '../support/test-cloud.ts'

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
      const server = await createServer(cloud, {
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
      assert.equal(row.userData, userData)
      const keys = await listServerKeypairs(cloud.cloud.db.read, server.id)
      assert.deepEqual(
        keys.map(({ name, publicKey }) => [name, publicKey]),
        [['key', keypair.public_key]],
      )
    })

    test('optional members may be null, where clients send that, and empty', async () => {
      const cloud = shared()
      const server = await createServer(cloud, {
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
      const server = await createServer(cloud, { name, user_data: userData, metadata, adminPass: 'x'.repeat(255) })
      assert.equal(server.name, name)
      assert.deepEqual(server.metadata, metadata)
      const many = Object.fromEntries(Array.from({ length: 128 }, (_, n) => [`key${n}`, String(n)]))
      assert.deepEqual((await createServer(cloud, { metadata: many })).metadata, many)
    })

    test('user data may be wrapped into lines', async () => {
      const cloud = shared()
      await createServer(cloud, { user_data: 'aGVs\nbG8g\r\nd29ybGQ=\n' })
    })

    test('flavor and image may be URLs that end in the id', async () => {
      const cloud = shared()
      const { server: wish } = await cloud.wish()
      const server = await createServer(cloud, {
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

    test('a reservation id stands for all servers of one call', async () => {
      const cloud = shared()
      const wish = await cloud.wish({ max_count: 2, return_reservation_id: true })
      const answer = await cloud.member.post('/servers', wish)
      assert.equal(answer.statusCode, 202)
      assert.deepEqual(Object.keys(answer.json()), ['reservation_id'])
      const { reservation_id: id } = answer.json()
      assert.match(id, /^r-[a-z0-9]{8}$/)
      assert.equal((await listServers(cloud.member, `reservation_id=${id}`)).length, 2)
      await cloud.settled()
    })

    test('no more servers are made than the quota leaves, and none when it leaves fewer than the least', async () => {
      await using cloud = await testCloud({ database, config: { quotaServers: 5, quotaVcpus: 4 } })
      const some = await createServers(cloud, { min_count: 1, max_count: 9 })
      assert.equal(some.length, 4)
      const before = await countRows(cloud)
      const none = await cloud.member.post('/servers', await cloud.wish({ min_count: 1, max_count: 2 }))
      assert.equal(none.statusCode, 403)
      assert.match(none.json().forbidden.message, /cores/)
      assert.deepEqual(await countRows(cloud), before)
    })

    test('creates at once do not get past the quota together', async () => {
      await using cloud = await testCloud({ database, config: { quotaServers: 3 } })
      const wish = await cloud.wish()
      const answers = await Promise.all(Array.from({ length: 10 }, () => cloud.member.post('/servers', wish)))
      const count = (status: number) => answers.filter(({ statusCode }) => statusCode === status).length
      assert.deepEqual([count(202), count(403)], [3, 7])
      await cloud.settled()
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
