/** S18 and S19: several keys a server, told to the guest when it runs, kept for its next boot when it does not. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Row, TaskState, VmState } from '../../src/db/schema.ts'
import { insertServerKeypairs } from '../../src/servers/server-keypair-store.ts'
import { newGuest } from '../support/asking-guest.ts'
import { assertFault } from '../support/assert-fault.ts'
import { countRows } from '../support/count-rows.ts'
import { KEYS } from '../support/public-keys.ts'
import { addKeypair, addKeypairs, ask, done, inGuest, keyNameOf, namesOf, setServer } from '../support/server-keys.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { DATABASES, testCloud } from '../support/test-cloud.ts'

for (const database of DATABASES) {
  describe(database, () => {
    test('keys log in while they are attached; key_name is the first, and metadata tells all', async () => {
      await using cloud = await testCloud({ database })
      await addKeypairs(cloud.member)
      const guest = await newGuest(cloud, { key_name: 'one' })
      const { id } = guest
      const told = async () => {
        const { public_keys, keys } = await guest.json('/openstack/latest/meta_data.json')
        return [public_keys ?? {}, keys.map(({ name }: { name: string }) => name)]
      }
      await done(cloud, 'attachKeypairs', ['three', 'two'], id)
      assert.deepEqual(inGuest(cloud, id).sort(), [KEYS.three, KEYS.two].sort())
      assert.equal(await keyNameOf(cloud, id), 'one')
      assert.deepEqual(await told(), [KEYS, ['one', 'three', 'two']])
      assert.equal(await guest.read('/latest/meta-data/public-keys/'), '0=one\n1=three\n2=two')
      assert.equal(await guest.read('/latest/meta-data/public-keys/2/openssh-key'), KEYS.two)

      await done(cloud, 'detachKeypairs', ['one', 'two'], id)
      assert.deepEqual(inGuest(cloud, id), [KEYS.three])
      assert.equal(await keyNameOf(cloud, id), 'three')
      assert.deepEqual(await told(), [{ three: KEYS.three }, ['three']])

      await done(cloud, 'detachKeypairs', ['three'], id)
      assert.deepEqual(inGuest(cloud, id), [])
      assert.equal(await keyNameOf(cloud, id), null)
      assert.deepEqual(await told(), [{}, []])

      // Attached again, it comes after those that stayed.
      await done(cloud, 'attachKeypairs', ['two'], id)
      await done(cloud, 'attachKeypairs', ['one', 'one'], id)
      assert.deepEqual(await told(), [{ two: KEYS.two, one: KEYS.one }, ['two', 'one']])
      assert.deepEqual(
        (await cloud.actions(id)).slice(1),
        ['attach', 'detach', 'detach', 'attach', 'attach'].map((verb) => `${verb}Keypairs Success`),
      )
    })

    const shared = sharedCloud({
      database,
      servers: { web: {}, twice: {}, off: {}, silent: {}, none: {}, many: {}, both: {}, locked: { isLocked: 1 } },
    })
    let isPrepared = false
    const prepared = async () => {
      const cloud = shared()
      if (!isPrepared) await addKeypairs(cloud.member)
      isPrepared = true
      return cloud
    }

    test('attaching what is attached, and detaching what is not, changes nothing', async () => {
      const cloud = await prepared()
      await done(cloud, 'attachKeypairs', ['one'], 'twice')
      const counted = await countRows(cloud)
      await done(cloud, 'attachKeypairs', ['one'], 'twice')
      await done(cloud, 'detachKeypairs', ['two', 'never heard of', '../?'], 'twice')
      assert.deepEqual(await namesOf(cloud, 'twice'), ['one'])
      assert.deepEqual(inGuest(cloud, 'twice'), [KEYS.one])
      const { actions = 0, actionEvents = 0 } = counted
      assert.deepEqual(await countRows(cloud), { ...counted, actions: actions + 2, actionEvents: actionEvents + 2 })
      // A guest that lost a key has it again.
      cloud.host.agentOf(cloud.id.twice ?? '').keys.clear()
      await done(cloud, 'attachKeypairs', ['one'], 'twice')
      assert.deepEqual(inGuest(cloud, 'twice'), [KEYS.one])
    })

    test('one unknown name among others is a bad request that names each, and nothing is done', async () => {
      const cloud = await prepared()
      const other = await cloud.stranger()
      await addKeypair(other, 'of-another', KEYS.one)
      const counted = await countRows(cloud)
      for (const [names, message] of [
        [['nope'], /Keypair 'nope' could not be found for user/],
        [['one', 'nope', 'two', 'of-another'], /Keypairs 'nope', 'of-another' could not be found for user/],
        [['one', 'a\nb'], /'a\nb'/],
        [['__proto__', 'ONE'], /'__proto__', 'ONE'/],
      ] as const) {
        assertFault(await ask(cloud, 'attachKeypairs', names, 'web'), 400, message)
      }
      assert.deepEqual(await countRows(cloud), counted)
      assert.deepEqual([await namesOf(cloud, 'web'), inGuest(cloud, 'web')], [[], []])
    })

    test('what is no list of names is a bad request', async () => {
      const cloud = await prepared()
      const counted = await countRows(cloud)
      for (const verb of ['attachKeypairs', 'detachKeypairs'] as const) {
        for (const names of [
          ...[undefined, null, 'one', 1, {}, [], [null], [1], [['one']], ['']],
          ...[['one', 'x'.repeat(256)], Array(101).fill('one')],
        ]) {
          assertFault(await ask(cloud, verb, names, 'web'), 400, new RegExp(`'${verb}.*key_names`), `${names}`)
        }
        for (const body of [null, 'one', ['one'], 1]) {
          const answer = await cloud.member.post(`/servers/${cloud.id.web}/action`, { [verb]: body })
          assertFault(answer, 400, new RegExp(`'${verb}'`))
        }
      }
      assert.deepEqual(await countRows(cloud), counted)
    })

    test('the state decides, the lock, the role, and whose server it is', async () => {
      await using cloud = await testCloud({ database, servers: { web: {} } })
      await addKeypairs(cloud.member)
      await cloud.cloud.runner[Symbol.asyncDispose]()
      const { launchedAt } = await cloud.server('web')
      const [stranger, reader] = [await cloud.stranger(), await cloud.stranger('reader')]
      const counted = await countRows(cloud)
      for (const verb of ['attachKeypairs', 'detachKeypairs'] as const) {
        const refused: [Partial<Row<'servers'>>, string][] = [
          ...(['building', 'paused', 'suspended', 'resized', 'error'] satisfies VmState[]).map(
            (vmState) => [{ vmState }, `'${verb}'.*vm_state ${vmState}`] as [object, string],
          ),
          ...(['powering-off', 'rebooting', 'deleting', 'updating_password'] satisfies TaskState[]).map(
            (taskState) => [{ taskState }, `'${verb}'.*task_state ${taskState}`] as [object, string],
          ),
          [{ launchedAt: null }, `'${verb}'.*launched_at`],
          [{ isLocked: 1 }, 'locked'],
        ]
        for (const [to, message] of refused) {
          await setServer(cloud, 'web', { vmState: 'active', taskState: null, isLocked: 0, launchedAt, ...to })
          assertFault(await ask(cloud, verb, ['one'], 'web'), 409, new RegExp(message))
        }
        await setServer(cloud, 'web', { vmState: 'active', taskState: null, isLocked: 0, launchedAt })
        assertFault(await ask(cloud, verb, ['one'], 'no-such'), 404, /no-such/)
        assertFault(await ask(cloud, verb, ['one'], 'web', stranger), 404, /could not be found/)
        assertFault(await ask(cloud, verb, ['one'], 'web', reader), 403, /servers:action/)
      }
      assert.deepEqual(await countRows(cloud), counted)
    })

    test("the keys are those of the image's os_admin_user", async () => {
      const cloud = await prepared()
      await setServer(cloud, 'both', { imageProperties: '{"os_admin_user":"debian"}' })
      await done(cloud, 'attachKeypairs', ['one'], 'both')
      assert.deepEqual([inGuest(cloud, 'both', 'debian'), inGuest(cloud, 'both')], [[KEYS.one], []])
      await done(cloud, 'detachKeypairs', ['one'], 'both')
      assert.deepEqual(inGuest(cloud, 'both', 'debian'), [])
    })

    test('a keypair that is deleted goes on logging in, until it is detached', async () => {
      const cloud = await prepared()
      await addKeypair(cloud.member, 'short-lived', KEYS.one)
      await done(cloud, 'attachKeypairs', ['short-lived'], 'web')
      assert.equal((await cloud.member.delete('/os-keypairs/short-lived')).statusCode, 200)
      assert.deepEqual([await namesOf(cloud, 'web'), inGuest(cloud, 'web')], [['short-lived'], [KEYS.one]])
      assert.equal(await keyNameOf(cloud, 'web'), 'short-lived')
      assertFault(await ask(cloud, 'attachKeypairs', ['short-lived'], 'web'), 400, /'short-lived'/)
      // Another key under its name does not push it out: whoever logs in with it would be locked out.
      await addKeypair(cloud.member, 'short-lived', KEYS.two)
      const answer = await ask(cloud, 'attachKeypairs', ['three', 'short-lived'], 'web')
      assertFault(answer, 409, /another key named 'short-lived'/)
      assert.deepEqual(await namesOf(cloud, 'web'), ['short-lived'])
      await done(cloud, 'detachKeypairs', ['short-lived'], 'web')
      assert.deepEqual([await namesOf(cloud, 'web'), inGuest(cloud, 'web')], [[], []])
    })

    test('a key that is attached under two names logs in until the last of them goes', async () => {
      const cloud = await prepared()
      await addKeypair(cloud.member, 'same', `${KEYS.one.replace(/ \S+$/, '')} another comment\n`)
      await done(cloud, 'attachKeypairs', ['one', 'same'], 'web')
      await done(cloud, 'detachKeypairs', ['one'], 'web')
      assert.ok(inGuest(cloud, 'web').some((line) => line.startsWith(KEYS.one.split(' ', 2).join(' '))))
      await done(cloud, 'detachKeypairs', ['same'], 'web')
      assert.deepEqual(await namesOf(cloud, 'web'), [])
      assert.ok(!inGuest(cloud, 'web').some((line) => line.endsWith('another comment')))
    })

    test('a server has a hundred keys at most', async () => {
      const cloud = await prepared()
      const id = cloud.id.many ?? ''
      const others = Array.from(
        { length: 98 },
        (_, n) => ({ name: `k${n}`, type: 'ssh', publicKey: KEYS.one }) as const,
      )
      await cloud.cloud.db.transaction((tx) => insertServerKeypairs(tx, id, others))
      assertFault(
        await ask(cloud, 'attachKeypairs', ['one', 'two', 'three'], 'many'),
        403,
        /requested 3, used 98, limit 100/,
      )
      assert.equal((await namesOf(cloud, 'many')).length, 98)
      await done(cloud, 'attachKeypairs', ['one', 'two'], 'many')
      await done(cloud, 'attachKeypairs', ['two'], 'many')
      assertFault(await ask(cloud, 'attachKeypairs', ['three'], 'many'), 403, /limit 100/)
    })

    test('keys attached at once come one after the other, and none is lost', async () => {
      await using cloud = await testCloud({ database, servers: { web: {} } })
      await addKeypairs(cloud.member)
      const id = cloud.id.web ?? ''
      const names = Object.keys(KEYS)
      const answers = await Promise.all([...names, ...names].map((name) => ask(cloud, 'attachKeypairs', [name], id)))
      for (const answer of answers) assert.equal(answer.statusCode, 202, answer.body)
      await cloud.settled()
      const rows = await cloud.cloud.db.read.selectFrom('serverKeypairs').selectAll().orderBy('position').execute()
      assert.deepEqual(
        rows.map(({ position }) => position),
        [0, 1, 2],
      )
      assert.equal((await cloud.server('web')).keyName, rows[0]?.name)
      assert.deepEqual(inGuest(cloud, 'web').sort(), Object.values(KEYS).sort())
      assert.equal((await cloud.actions('web')).filter((action) => action === 'attachKeypairs Success').length, 6)
      await cloud.member.delete(`/servers/${id}`)
      await cloud.settled()
      assert.deepEqual(await cloud.cloud.db.read.selectFrom('serverKeypairs').selectAll().execute(), [])
    })
  })
}
