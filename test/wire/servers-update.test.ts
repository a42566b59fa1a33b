/** S05: what may be changed at any time. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import type { Row } from '../../src/db/schema.ts'
import { assertFault } from '../support/assert-fault.ts'
import { countRows } from '../support/count-rows.ts'
import { assertSameShape } from '../support/same-shape.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { DATABASES, type TestCloud } from '../support/test-cloud.ts'

const EXAMPLE = JSON.parse(readFileSync(new URL('../fixtures/uos/S05.response.json', import.meta.url), 'utf8'))

const put = (cloud: TestCloud, server: unknown, name = 'web') =>
  cloud.member.put(`/servers/${cloud.id[name]}`, { server })

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({
      database,
      servers: {
        web: {},
        stopped: { vmState: 'stopped', powerState: 4 },
        busy: { taskState: 'powering-off' },
        failed: { vmState: 'error', powerState: 0, faultCode: 500, faultMessage: 'It broke.', faultAt: 0 },
        locked: { isLocked: 1 },
      } satisfies Record<string, Partial<Row<'servers'>>>,
    })

    test('the answer has the 17 fields of the document, and moves updated on', async () => {
      const cloud = shared()
      const before = (await cloud.member.get(`/servers/${cloud.id.web}`)).json().server
      cloud.clock.advance(2_000)
      const answer = await put(cloud, { name: 'renamed' })
      assert.equal(answer.statusCode, 200)
      assertSameShape(answer.json(), EXAMPLE)
      const { server } = answer.json()
      assert.equal(Object.keys(server).length, 17)
      assert.equal(Date.parse(server.updated) - Date.parse(before.updated), 2_000)
      assert.equal(server.created, before.created)
      const after = (await cloud.member.get(`/servers/${cloud.id.web}`)).json().server
      assert.deepEqual([after.name, after.updated], ['renamed', server.updated])
    })

    test('a server is renamed in every state, also with an action under way', async () => {
      const cloud = shared()
      for (const name of ['stopped', 'busy', 'failed']) {
        const answer = await put(cloud, { name: `${name}-2` }, name)
        assert.equal(answer.statusCode, 200, name)
        assert.equal(answer.json().server.name, `${name}-2`)
        assert.equal(answer.json().server.hostId.length, 56)
      }
      assert.equal((await cloud.server('busy')).taskState, 'powering-off')
      assert.equal((await put(cloud, {}, 'failed')).json().server.fault.message, 'It broke.')
      assert.equal((await put(cloud, {}, 'failed')).json().server.progress, undefined)
    })

    test('a lock does not hold back a name', async () => {
      assert.equal((await put(shared(), { name: 'still' }, 'locked')).statusCode, 200)
    })

    test('names are trimmed, and may be as long as 255 characters of any script', async () => {
      const cloud = shared()
      for (const [name, kept] of [
        [' a b ', 'a b'],
        ['名'.repeat(255), '名'.repeat(255)],
        ['<script>alert(1)</script>', '<script>alert(1)</script>'],
        ["'; drop table servers; --", "'; drop table servers; --"],
      ] as const) {
        assert.equal((await put(cloud, { name })).json().server.name, kept)
        assert.equal((await cloud.server('web')).name, kept)
      }
    })

    test('access addresses and disk config are taken and given back', async () => {
      const cloud = shared()
      const wish = { accessIPv4: '192.0.2.1', accessIPv6: '2001:db8::2', 'OS-DCF:diskConfig': 'AUTO' }
      const { server } = (await put(cloud, { ...wish, name: 'x', unheard_of: 1 })).json()
      for (const [key, value] of Object.entries(wish)) assert.equal(server[key], value)
      const cleared = (await put(cloud, { accessIPv4: null, accessIPv6: '' })).json().server
      assert.deepEqual([cleared.accessIPv4, cleared.accessIPv6, cleared.name], ['', '', 'x'])
    })

    test('a wrong value is refused and changes nothing, not even updated', async () => {
      const cloud = shared()
      const [before, counted] = [await cloud.server('web'), await countRows(cloud)]
      cloud.clock.advance(1_000)
      const names = ['', ' ', '\t', null, 5, [], {}, 'x'.repeat(256), 'a\0b', 'a\nb']
      const wishes: [unknown, RegExp][] = [
        ...names.map((name): [unknown, RegExp] => [{ name }, /name/]),
        [{ name: 'fine', accessIPv4: 'x' }, /accessIPv4/],
        [{ name: 'fine', accessIPv6: '1.2.3.4' }, /accessIPv6/],
        [{ name: 'fine', 'OS-DCF:diskConfig': 'x' }, /diskConfig/],
        [null, /server/],
        [[], /server/],
        ['name', /server/],
        [undefined, /server/],
      ]
      for (const [wish, message] of wishes) assertFault(await put(cloud, wish), 400, message, JSON.stringify(wish))
      assert.deepEqual(await cloud.server('web'), before)
      assert.deepEqual(await countRows(cloud), counted)
    })

    test('a server of another project is not found, and keeps its name', async () => {
      const cloud = shared()
      const stranger = await cloud.stranger()
      const before = await cloud.server('web')
      const answer = await stranger.put(`/servers/${cloud.id.web}`, { server: { name: 'mine' } })
      assertFault(answer, 404, /could not be found/)
      assert.deepEqual(await cloud.server('web'), before)
    })
  })
}
