/** `Idempotency-Key` on S01: a create that is repeated makes nothing twice. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { assertFault } from '../support/assert-fault.ts'
import { countRows } from '../support/count-rows.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { type Client, DATABASES, testCloud } from '../support/test-cloud.ts'

const countServers = async (client: Client) => (await client.get('/servers')).json().servers.length

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database })

    test('the same key gets the same answer again, password and all, and one server', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const wish = await cloud.wish({ max_count: 2 })
      const first = await client.post('/servers', wish, { 'idempotency-key': 'key' })
      assert.equal(first.statusCode, 202)
      assert.equal(first.headers['idempotency-replayed'], undefined)
      await cloud.settled()
      for (let n = 0; n < 3; n++) {
        const again = await client.post('/servers', wish, { 'idempotency-key': 'key' })
        assert.equal(again.statusCode, 202)
        assert.equal(again.headers['idempotency-replayed'], 'true')
        assert.deepEqual(again.json(), first.json())
        assert.notEqual(again.headers['x-compute-request-id'], first.headers['x-compute-request-id'])
      }
      assert.equal(await countServers(client), 2)
    })

    test('the answer outlives the server', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const first = await client.post('/servers', await cloud.wish(), { 'idempotency-key': 'key' })
      await client.delete(`/servers/${first.json().server.id}`)
      await cloud.settled()
      const again = await client.post('/servers', await cloud.wish(), { 'idempotency-key': 'key' })
      assert.deepEqual(again.json(), first.json())
      assert.equal(await countServers(client), 0)
    })

    test('many at once with one key make one', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const wish = await cloud.wish()
      const send = () => client.post('/servers', wish, { 'idempotency-key': 'race' })
      const answers = await Promise.all(Array.from({ length: 8 }, send))
      assert.deepEqual(new Set(answers.map(({ statusCode }) => statusCode)), new Set([202]))
      assert.equal(new Set(answers.map(({ body }) => body)).size, 1)
      await cloud.settled()
      assert.equal(await countServers(client), 1)
    })

    test('a key that came with another body, or to another path, is a conflict', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const headers = { 'idempotency-key': 'key' }
      await client.post('/servers', await cloud.wish(), headers)
      await cloud.settled()
      const before = await countRows(cloud)
      assertFault(await client.post('/servers', await cloud.wish({ name: 'other' }), headers), 409, /another request/)
      assertFault(await client.post('/os-keypairs', { keypair: { name: 'k' } }, headers), 409, /another request/)
      assert.deepEqual(await countRows(cloud), before)
    })

    test('a key belongs to its user and project', async () => {
      const cloud = shared()
      const [one, two] = [await cloud.stranger(), await cloud.stranger()]
      const wish = await cloud.wish()
      const [a, b] = [
        await one.post('/servers', wish, { 'idempotency-key': 'key' }),
        await two.post('/servers', wish, { 'idempotency-key': 'key' }),
      ]
      assert.notEqual(a.json().server.id, b.json().server.id)
      await cloud.settled()
    })

    test('a request that was refused used no key', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const headers = { 'idempotency-key': 'key' }
      const before = await countRows(cloud)
      assertFault(await client.post('/servers', await cloud.wish({ flavorRef: 'none' }), headers), 400, /Flavor/)
      assertFault(await client.post('/servers', await cloud.wish({ name: '' }), headers), 400, /name/)
      assert.deepEqual(await countRows(cloud), before)
      assert.equal((await client.post('/servers', await cloud.wish(), headers)).statusCode, 202)
      await cloud.settled()
      assert.equal(await countServers(client), 1)
    })

    test('a key must be printable and not too long', async () => {
      const cloud = shared()
      const before = await countRows(cloud)
      for (const key of ['', ' ', 'two words', 'ключ', 'x'.repeat(256), 'a\tb']) {
        const answer = await cloud.member.post('/servers', await cloud.wish(), { 'idempotency-key': key })
        assertFault(answer, 400, /Idempotency-Key/, JSON.stringify(key))
      }
      assert.deepEqual(await countRows(cloud), before)
      const longest = { 'idempotency-key': `~!"${'x'.repeat(252)}` }
      assert.equal((await cloud.member.post('/servers', await cloud.wish(), longest)).statusCode, 202)
      await cloud.settled()
    })

    test('a day later the key is new', async () => {
      await using cloud = await testCloud({ database })
      const headers = { 'idempotency-key': 'key' }
      const first = await cloud.member.post('/servers', await cloud.wish(), headers)
      await cloud.settled()
      cloud.clock.advance(24 * 3_600_000 + 1)
      const later = await cloud.member.post('/servers', await cloud.wish({ name: 'other' }), headers)
      assert.equal(later.statusCode, 202, later.body)
      assert.notEqual(later.json().server.id, first.json().server.id)
      await cloud.settled()
      assert.equal(await countServers(cloud.member), 2)
    })

    test('what is kept of the answer cannot be read in the database', async () => {
      const cloud = shared()
      const client = await cloud.stranger()
      const answer = await client.post('/servers', await cloud.wish({ adminPass: 'secret-pass' }), {
        'idempotency-key': 'key',
      })
      assert.equal(answer.statusCode, 202)
      await cloud.settled()
      const rows = await cloud.cloud.db.read.selectFrom('idempotentAnswers').selectAll().execute()
      assert.ok(rows.length > 0)
      assert.ok(!JSON.stringify(rows).includes('secret-pass'))
    })
  })
}
