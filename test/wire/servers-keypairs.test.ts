/** S18 and S19: several keys a server, told to the guest when it runs, kept for its next boot when it does not. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { listActions, listEvents } from '../../src/actions/journal.ts'
import type { Row, TaskState, VmState } from '../../src/db/schema.ts'
import { HostError } from '../../src/host/host-driver.ts'
import { insertServerKeypairs, listServerKeypairs } from '../../src/servers/server-keypair-store.ts'
import { newGuest } from '../support/asking-guest.ts'
import { assertFault } from '../support/assert-fault.ts'
import { countRows } from '../support/count-rows.ts'
import { KEYS } from '../support/public-keys.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { type Client, DATABASES, type TestCloud, testCloud } from '../support/test-cloud.ts'

type Verb = 'attachKeypairs' | 'detachKeypairs'

const ask = (cloud: TestCloud, verb: Verb, key_names: unknown, id: string, who: Client = cloud.member) =>
  who.post(`/servers/${cloud.id[id] ?? id}/action`, { [verb]: { key_names } })

/** Asks, and lets the guest be told. */
async function done(cloud: TestCloud, verb: Verb, names: string[], id: string): Promise<void> {
  const answer = await ask(cloud, verb, names, id)
  assert.deepEqual([answer.statusCode, answer.body], [202, ''])
  await cloud.settled()
}

async function addKeypair(who: Client, name: string, public_key: string): Promise<void> {
  const { statusCode, body } = await who.post('/os-keypairs', { keypair: { name, public_key } })
  assert.equal(statusCode, 200, body)
}

async function addKeypairs(who: Client): Promise<void> {
  for (const [name, publicKey] of Object.entries(KEYS)) await addKeypair(who, name, publicKey)
}

const setServer = (cloud: TestCloud, name: string, to: Partial<Row<'servers'>>) =>
  cloud.cloud.db.transaction((tx) =>
    tx
      .updateTable('servers')
      .set(to)
      .where('id', '=', cloud.id[name] ?? name)
      .execute(),
  )

const namesOf = async (cloud: TestCloud, id: string): Promise<string[]> =>
  (await listServerKeypairs(cloud.cloud.db.read, cloud.id[id] ?? id)).map(({ name }) => name)

const inGuest = (cloud: TestCloud, id: string, userName = 'root'): string[] =>
  cloud.host.agentOf(cloud.id[id] ?? id).keys.get(userName) ?? []

async function keyNameOf(cloud: TestCloud, id: string): Promise<string | null> {
  return (await cloud.member.get(`/servers/${cloud.id[id] ?? id}`)).json().server.key_name
}

/** How the last action of a server ended, and what its steps say. */
async function lastAction(cloud: TestCloud, id: string): Promise<unknown[]> {
  const { read } = cloud.cloud.db
  const last = (await listActions(read, cloud.id[id] ?? id)).at(-1)
  const events = last ? await listEvents(read, last.id) : []
  return [last?.name, last?.result, ...events.map(({ message }) => message)]
}

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

    test('a server that is off is told at its next boot, by metadata, and by an agent that answers then', async () => {
      const cloud = await prepared()
      const guest = await newGuest(cloud)
      await cloud.member.post(`/servers/${guest.id}/action`, { 'os-stop': null })
      await cloud.settled()
      await done(cloud, 'attachKeypairs', ['one', 'two'], guest.id)
      await done(cloud, 'detachKeypairs', ['one'], guest.id)
      assert.deepEqual(inGuest(cloud, guest.id), [])
      assert.deepEqual(await lastAction(cloud, guest.id), ['detachKeypairs', 'Success', null])
      assert.equal(await keyNameOf(cloud, guest.id), 'two')
      const { public_keys } = await guest.json('/openstack/latest/meta_data.json')
      assert.deepEqual(public_keys, { two: KEYS.two })
      const { server } = (await cloud.member.get(`/servers/${guest.id}`)).json()
      assert.deepEqual([server.status, server['OS-EXT-STS:task_state']], ['SHUTOFF', null])

      cloud.host.agentOf(guest.id).keys.set('root', [KEYS.one, KEYS.three])
      await cloud.member.post(`/servers/${guest.id}/action`, { 'os-start': null })
      await cloud.advanceUntil(() => inGuest(cloud, guest.id).includes(KEYS.two))
      assert.deepEqual(inGuest(cloud, guest.id), [KEYS.three, KEYS.two])
      await cloud.settled()
      assert.equal((await cloud.server(guest.id)).untoldKeys, null)
      assert.deepEqual(await lastAction(cloud, guest.id), ['tellKeypairs', 'Success', null])
    })

    test('an agent that answers later is told then, whatever came in between; one that never does is left in peace', async () => {
      await using cloud = await testCloud({ database, servers: { web: {} } })
      await addKeypairs(cloud.member)
      const agent = cloud.host.agentOf(cloud.id.web ?? '')
      let looks = 0
      cloud.host.intercept = (verb, _id, run) => {
        if (verb === 'readGuestHealth') looks += 1
        return run()
      }
      const pass = async (minutes: number) => {
        for (let seconds = 0; seconds < minutes * 60; seconds += 10) {
          cloud.clock.advance(10_000)
          await cloud.settled()
          await new Promise((resolve) => setImmediate(resolve))
        }
      }
      await done(cloud, 'attachKeypairs', ['one', 'two'], 'web')
      assert.deepEqual(inGuest(cloud, 'web'), [KEYS.one, KEYS.two])
      agent.mood = 'silent'
      await done(cloud, 'detachKeypairs', ['one', 'two'], 'web')
      await done(cloud, 'attachKeypairs', ['three', 'two'], 'web')
      const { updatedAt } = await cloud.server('web')
      await cloud.advanceUntil(() => looks > 1)
      agent.mood = 'answers'
      await cloud.advanceUntil(() => inGuest(cloud, 'web').includes(KEYS.three))
      assert.deepEqual(inGuest(cloud, 'web').sort(), [KEYS.two, KEYS.three].sort())
      await cloud.settled()
      assert.deepEqual((await cloud.actions('web')).slice(1), [
        'attachKeypairs Success',
        'detachKeypairs Error',
        'attachKeypairs Error',
        'tellKeypairs Success',
      ])
      assert.equal((await cloud.server('web')).updatedAt, updatedAt)

      agent.mood = 'silent'
      await done(cloud, 'detachKeypairs', ['two'], 'web')
      await pass(16)
      looks = 0
      await pass(5)
      assert.equal(looks, 0)
      const actions = await cloud.actions('web')
      assert.equal(actions.length, 6)
      // Until it is started again.
      agent.mood = 'answers'
      await cloud.member.post(`/servers/${cloud.id.web}/action`, { reboot: { type: 'HARD' } })
      await cloud.advanceUntil(() => !inGuest(cloud, 'web').includes(KEYS.two))
      assert.deepEqual(inGuest(cloud, 'web'), [KEYS.three])
      // What was refused is not tried again.
      agent.mood = 'refuses'
      await done(cloud, 'detachKeypairs', ['three'], 'web')
      const asked = await cloud.actions('web')
      await pass(2)
      assert.deepEqual(await cloud.actions('web'), asked)
      assert.equal((await cloud.server('web')).untoldKeys, null)
    })

    test('an agent that greets and then never answers is told three times, and the server is free for all else', async () => {
      await using cloud = await testCloud({ database, servers: { web: {} } })
      await addKeypairs(cloud.member)
      cloud.host.intercept = (verb, _id, run) => {
        if (verb === 'changeGuestKeys') throw new HostError('noAgent', 'It does not answer.')
        return run()
      }
      const failures = async () => (await cloud.actions('web')).filter((one) => one === 'tellKeypairs Error').length
      await done(cloud, 'attachKeypairs', ['one'], 'web')
      await cloud.advanceUntil(async () => (await failures()) === 3)
      for (let looks = 0; looks < 12; looks++) {
        cloud.clock.advance(10_000)
        await cloud.settled()
        await new Promise((resolve) => setImmediate(resolve))
      }
      assert.equal(await failures(), 3)
      // A start is a new beginning.
      cloud.host.intercept = (_verb, _id, run) => run()
      await cloud.member.post(`/servers/${cloud.id.web}/action`, { reboot: { type: 'HARD' } })
      await cloud.advanceUntil(() => inGuest(cloud, 'web').includes(KEYS.one))
    })

    test('a guest that nobody can ask does not have them yet, and the action says so', async () => {
      const cloud = await prepared()
      const agent = cloud.host.agentOf(cloud.id.silent ?? '')
      for (const [mood, message] of [
        ['silent', /not told of the keys yet.*does not answer/],
        ['refuses', /would not have the keys.*refused/],
      ] as const) {
        agent.mood = mood
        for (const [verb, names] of [
          ['attachKeypairs', ['one', 'two']],
          ['detachKeypairs', ['one', 'two']],
        ] as const) {
          await done(cloud, verb, [...names], 'silent')
          const [name, result, event] = await lastAction(cloud, 'silent')
          assert.deepEqual([name, result], [verb, 'Error'])
          assert.match(String(event), message)
          assert.deepEqual(await namesOf(cloud, 'silent'), verb === 'attachKeypairs' ? names : [])
          const { vmState, taskState, faultMessage } = await cloud.server('silent')
          assert.deepEqual([vmState, taskState, faultMessage], ['active', null, null])
        }
      }
      // Whose image says that it has none is not asked, and nothing failed.
      await setServer(cloud, 'none', { imageProperties: '{"hw_qemu_guest_agent":"no"}' })
      cloud.host.intercept = async (verb, _id, run) => {
        if (verb === 'changeGuestKeys') throw new HostError('unreachable', 'Nobody was to be asked.')
        return run()
      }
      await done(cloud, 'attachKeypairs', ['one'], 'none')
      cloud.host.intercept = (_verb, _id, run) => run()
      assert.deepEqual(await lastAction(cloud, 'none'), ['attachKeypairs', 'Success', null])
      assert.equal((await cloud.server('none')).untoldKeys, null)
      assert.deepEqual(await namesOf(cloud, 'none'), ['one'])
      // Nor can anybody be asked for a user that is none.
      await setServer(cloud, 'none', { imageProperties: '{"os_admin_user":"a/b"}' })
      await done(cloud, 'attachKeypairs', ['two'], 'none')
      assert.match(String((await lastAction(cloud, 'none'))[2]), /os_admin_user/)
      assert.deepEqual(await namesOf(cloud, 'none'), ['one', 'two'])
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
