/** `os-getConsoleOutput`: the last lines of a guest's serial console. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { assertFault } from '../support/assert-fault.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { DATABASES, type TestCloud, testCloud } from '../support/test-cloud.ts'

const ask = (cloud: TestCloud, body: unknown, name = 'web') =>
  cloud.member.post(`/servers/${cloud.id[name] ?? name}/action`, { 'os-getConsoleOutput': body })

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database, servers: { web: {}, off: {}, failed: {} } })

    test('the whole console is one text, and a length takes its last lines', async () => {
      const cloud = shared()
      cloud.host.print(cloud.id.web ?? '', 'one', 'two', 'three ☁')
      const whole = await ask(cloud, {})
      assert.equal(whole.statusCode, 200)
      assert.deepEqual(Object.keys(whole.json()), ['output'])
      const lines = whole.json().output.split('\n')
      assert.deepEqual(lines.slice(-3), ['one', 'two', 'three ☁'])
      assert.ok(lines.length > 3)
      for (const all of [null, { length: null }, { length: -1 }, { length: '-1' }, { length: 10_000 }, { other: 1 }]) {
        assert.equal((await ask(cloud, all)).json().output, whole.json().output, JSON.stringify(all))
      }
      for (const [length, count] of [
        [2, 2],
        ['2', 2],
        ['02', 2],
        [0, 0],
        ['0', 0],
      ] as const) {
        const expected = count === 0 ? '' : lines.slice(-count).join('\n')
        assert.equal((await ask(cloud, { length })).json().output, expected, String(length))
      }
    })

    test('a server that is off still shows what it last said', async () => {
      const cloud = shared()
      cloud.host.print(cloud.id.off ?? '', 'last words')
      await cloud.member.post(`/servers/${cloud.id.off}/action`, { 'os-stop': null })
      await cloud.settled()
      assert.match((await ask(cloud, {}, 'off')).json().output, /last words$/)
    })

    test('a server that is on no host has no console', async () => {
      const cloud = shared()
      await cloud.cloud.db.transaction((tx) =>
        tx
          .updateTable('servers')
          .set({ hostName: null })
          .where('id', '=', cloud.id.failed ?? '')
          .execute(),
      )
      assertFault(await ask(cloud, {}, 'failed'), 409, /not ready/)
    })

    test('nothing is written for a look', async () => {
      const cloud = shared()
      const before = await cloud.server('web')
      cloud.clock.advance(1_000)
      await ask(cloud, {})
      assert.deepEqual(await cloud.server('web'), before)
      assert.deepEqual(await cloud.actions('web'), ['create Success'])
    })

    test('what fails inside is 500, and only the log knows it', async () => {
      await using cloud = await testCloud({ database, servers: { web: {} } })
      cloud.host.intercept = async (verb, _id, run) => {
        if (verb === 'readConsole') throw new Error('ENOENT /var/lib/secret')
        return run()
      }
      const answer = await ask(cloud, {})
      assert.equal(answer.statusCode, 500)
      assert.deepEqual(Object.keys(answer.json()), ['computeFault'])
      assert.ok(!answer.body.includes('secret'))
      assert.ok(cloud.logged.some((line) => line.includes('secret') && line.includes('"level":50')))
    })
  })
}
