/** S11 changePassword: what it takes, who is asked, what is left behind; and the password that a guest posts. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { findOpenAction, listActions, listEvents } from '../../src/actions/journal.ts'
import type { Row, TaskState, VmState } from '../../src/db/schema.ts'
import { HostError } from '../../src/host/host-driver.ts'
import { keepGuestPassword } from '../../src/servers/guest-password.ts'
import { assertFault } from '../support/assert-fault.ts'
import { countRows } from '../support/count-rows.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { storedTexts } from '../support/stored-texts.ts'
import { type Client, DATABASES, type TestCloud, testCloud } from '../support/test-cloud.ts'

const WORD = 'correct-horse ü:$x'

const change = (cloud: TestCloud, adminPass: unknown = WORD, name = 'web', who: Client = cloud.member) =>
  who.post(`/servers/${cloud.id[name] ?? name}/action`, { changePassword: { adminPass } })

const setServer = (cloud: TestCloud, name: string, to: Partial<Row<'servers'>>) =>
  cloud.cloud.db.transaction((tx) =>
    tx
      .updateTable('servers')
      .set(to)
      .where('id', '=', cloud.id[name] ?? '')
      .execute(),
  )

const setImage = (cloud: TestCloud, name: string, properties: Record<string, string>) =>
  setServer(cloud, name, { imageProperties: JSON.stringify(properties) })

const agentOf = (cloud: TestCloud, name = 'web') => cloud.host.agentOf(cloud.id[name] ?? '')

async function seen(cloud: TestCloud, name = 'web'): Promise<unknown[]> {
  const { server } = (await cloud.member.get(`/servers/${cloud.id[name]}`)).json()
  return [server.status, server['OS-EXT-STS:vm_state'], server['OS-EXT-STS:task_state'], server.fault]
}

async function adminPassOf(cloud: TestCloud, name = 'web'): Promise<string> {
  return cloud.cloud.box.open((await cloud.server(name)).sealedAdminPass ?? '')
}

/** What the last action of a server says of its steps. */
async function lastEvents(cloud: TestCloud, name = 'web'): Promise<(string | null)[]> {
  const { read } = cloud.cloud.db
  const last = (await listActions(read, cloud.id[name] ?? '')).at(-1)
  return last ? (await listEvents(read, last.id)).map(({ message }) => message) : []
}

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({
      database,
      servers: { web: {}, debian: {}, windows: {}, locked: { isLocked: 1 }, refused: {} },
    })

    test('the guest gets the password, its status is PASSWORD meanwhile, and metadata tells the new one', async () => {
      await using cloud = await testCloud({ database, servers: { web: {} } })
      const gate = Promise.withResolvers<void>()
      cloud.host.intercept = async (verb, _id, run) => {
        if (verb === 'setGuestPassword') await gate.promise
        return run()
      }
      const answer = await change(cloud)
      assert.equal(answer.statusCode, 202, answer.body)
      assert.equal(answer.body, '')
      assert.deepEqual(await seen(cloud), ['PASSWORD', 'active', 'updating_password', undefined])
      assertFault(await change(cloud, 'another'), 409, /'changePassword'.*task_state updating_password/)
      gate.resolve()
      await cloud.settled()
      assert.deepEqual(await seen(cloud), ['ACTIVE', 'active', null, undefined])
      assert.deepEqual([...agentOf(cloud).passwords], [['root', WORD]])
      assert.equal(await adminPassOf(cloud), WORD)
      assert.deepEqual(await cloud.actions('web'), ['create Success', 'changePassword Success'])
    })

    test('the password is nowhere in clear: not while it is on its way, not afterwards, not in the log', async () => {
      await using cloud = await testCloud({ database, servers: { web: {} } })
      const hidden = [WORD, Buffer.from(WORD).toString('base64'), JSON.stringify(WORD).slice(1, -1)]
      const assertHidden = async (when: string) => {
        const texts = await storedTexts(cloud)
        for (const text of hidden) assert.ok(!texts.includes(text), when)
      }
      const id = cloud.id.web ?? ''
      let sealed: string | null | undefined
      cloud.host.intercept = async (verb, _id, run) => {
        if (verb === 'setGuestPassword') {
          sealed = (await findOpenAction(cloud.cloud.db.read, id))?.sealedSecret
          await assertHidden('on its way')
        }
        return run()
      }
      await change(cloud)
      await cloud.settled()
      assert.equal(cloud.cloud.box.open(sealed ?? ''), WORD)
      assert.equal(await findOpenAction(cloud.cloud.db.read, id), undefined)
      for (const { sealedSecret } of await listActions(cloud.cloud.db.read, id)) assert.equal(sealedSecret, null)
      await assertHidden('afterwards')
      assert.deepEqual(await lastEvents(cloud), [null])

      // An agent that repeats what it was told, in clear or as it was sent.
      for (const text of hidden.slice(0, 2)) {
        cloud.host.intercept = async (verb, _id, run) => {
          if (verb !== 'setGuestPassword') return run()
          throw new HostError('agentRefused', `bad password ${text}`, { cause: new Error(`no ${text}`) })
        }
        await change(cloud)
        await cloud.settled()
        assert.equal((await cloud.actions('web')).at(-1), 'changePassword Error')
        assert.deepEqual(await lastEvents(cloud), ['The guest did not take the password.'])
        await assertHidden('refused')
      }
      // A delete in the middle forgets it, too.
      const [asked, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
      cloud.host.intercept = async (verb, _id, run) => {
        if (verb === 'setGuestPassword') {
          asked.resolve()
          await gate.promise
        }
        return run()
      }
      await change(cloud)
      await asked.promise
      await cloud.member.delete(`/servers/${id}`)
      for (const { sealedSecret } of await listActions(cloud.cloud.db.read, id)) assert.equal(sealedSecret, null)
      await assertHidden('deleted')
      gate.resolve()
      await cloud.settled()
      assert.equal((await cloud.actions('web')).at(-1), 'delete Success')
    })

    test("the user is the image's os_admin_user, Administrator on Windows, and root otherwise", async () => {
      const cloud = shared()
      await setImage(cloud, 'debian', { os_admin_user: ' debian ', os_type: 'linux' })
      await setImage(cloud, 'windows', { os_type: 'Windows', hw_qemu_guest_agent: 'yes' })
      for (const [name, userName] of [
        ['web', 'root'],
        ['debian', 'debian'],
        ['windows', 'Administrator'],
      ] as const) {
        assert.equal((await change(cloud, `of ${name}`, name)).statusCode, 202)
        await cloud.settled()
        assert.deepEqual([...agentOf(cloud, name).passwords], [[userName, `of ${name}`]])
      }
    })

    test('passwords of one and of 255 characters are taken, with blanks, colons and any letters', async () => {
      const cloud = shared()
      for (const password of [' ', ':', 'a b', '☁'.repeat(255), '"\'\\$`!', '\u{1f511}']) {
        const answer = await change(cloud, password)
        assert.equal(answer.statusCode, 202, answer.body)
        await cloud.settled()
        assert.equal(agentOf(cloud).passwords.get('root'), password)
      }
    })

    test('what is no password is a bad request, in words of the caller, and nobody is asked', async () => {
      const cloud = shared()
      const counted = await countRows(cloud)
      const calls: string[] = []
      cloud.host.intercept = (verb, _id, run) => {
        calls.push(verb)
        return run()
      }
      for (const body of [null, {}, [], 'secret', { adminPass: null }, { adminPass: 7 }, { adminPass: ['a'] }]) {
        const answer = await cloud.member.post(`/servers/${cloud.id.web}/action`, { changePassword: body })
        assertFault(answer, 400, /changePassword/, JSON.stringify(body))
      }
      for (const password of ['', 'x'.repeat(256)]) assertFault(await change(cloud, password), 400, /adminPass/)
      for (const sign of ['\n', '\r', '\t', '\u0007', '\u007f', '\u0085']) {
        const answer = await change(cloud, `secret${sign}root:another`)
        assertFault(answer, 400, /'adminPass'.*control character/)
        assert.ok(!answer.body.includes('secret'))
      }
      // A body with a NUL, or half of a letter, anywhere in it.
      for (const sign of ['\\u0000', '\\ud800', '\\udc00x']) {
        const answer = await cloud.member.request({
          method: 'POST',
          url: `/servers/${cloud.id.web}/action`,
          headers: { 'content-type': 'application/json' },
          payload: `{"changePassword":{"adminPass":"secret${sign}"}}`,
        })
        assertFault(answer, 400, /./, sign)
        assert.ok(!answer.body.includes('secret'))
      }
      cloud.host.intercept = (_verb, _id, run) => run()
      assert.deepEqual(
        calls.filter((verb) => /Guest/.test(verb)),
        [],
      )
      assert.deepEqual(await countRows(cloud), counted)
    })

    test('only a server that runs and does nothing else takes it', async () => {
      await using cloud = await testCloud({ database, servers: { web: {} } })
      await cloud.cloud.runner[Symbol.asyncDispose]()
      const { launchedAt } = await cloud.server('web')
      const counted = await countRows(cloud)
      const refused: [Partial<Row<'servers'>>, RegExp][] = [
        ...(['building', 'stopped', 'paused', 'suspended', 'resized', 'error'] satisfies VmState[]).map(
          (vmState) => [{ vmState }, new RegExp(`'changePassword'.*vm_state ${vmState}`)] as [object, RegExp],
        ),
        ...(['rebooting', 'powering-off', 'deleting', 'updating_password'] satisfies TaskState[]).map(
          (taskState) => [{ taskState }, new RegExp(`'changePassword'.*task_state ${taskState}`)] as [object, RegExp],
        ),
        [{ launchedAt: null }, /'changePassword'.*launched_at None/],
        [{ isLocked: 1 }, /locked/],
      ]
      for (const [to, message] of refused) {
        await setServer(cloud, 'web', { vmState: 'active', taskState: null, isLocked: 0, launchedAt, ...to })
        assertFault(await change(cloud), 409, message)
      }
      assert.deepEqual(await countRows(cloud), counted)
    })

    test('a server of others does not exist, and a reader may not', async () => {
      const cloud = shared()
      const [stranger, reader] = [await cloud.stranger(), await cloud.stranger('reader')]
      const counted = await countRows(cloud)
      for (const who of [cloud.member, stranger]) {
        assertFault(await change(cloud, WORD, 'no-such-server', who), 404, /no-such-server/)
      }
      assertFault(await change(cloud, WORD, 'web', stranger), 404, /could not be found/)
      assertFault(await change(cloud, WORD, 'web', reader), 403, /servers:action/)
      assertFault(await change(cloud, WORD, 'locked'), 409, /locked/)
      assert.deepEqual(await countRows(cloud), counted)
      assert.equal((await change(cloud, WORD, 'locked', cloud.admin)).statusCode, 202)
      await cloud.settled()
    })

    test('without an agent the caller is told what to install; an image that says it has none: not implemented', async () => {
      const cloud = shared()
      const counted = await countRows(cloud)
      for (const mood of ['silent', 'garbage'] as const) {
        agentOf(cloud, 'refused').mood = mood
        assertFault(await change(cloud, WORD, 'refused'), 409, /install .*qemu-guest-agent.*hw_qemu_guest_agent=yes/i)
      }
      agentOf(cloud, 'refused').mood = 'answers'
      for (const word of ['no', 'False']) {
        await setImage(cloud, 'refused', { hw_qemu_guest_agent: word })
        assertFault(await change(cloud, WORD, 'refused'), 501, /hw_qemu_guest_agent=no/)
      }
      for (const user of ['a:b', 'a\nroot', '../root']) {
        await setImage(cloud, 'refused', { os_admin_user: user })
        assertFault(await change(cloud, WORD, 'refused'), 409, /os_admin_user is no user name/)
      }
      await setImage(cloud, 'refused', {})
      assert.deepEqual([...agentOf(cloud, 'refused').passwords], [])
      assert.deepEqual(await countRows(cloud), counted)
    })

    test('a host that cannot be reached is worth another try, and one that hangs does not hold the caller', async () => {
      const cloud = shared()
      const counted = await countRows(cloud)
      const asked = Promise.withResolvers<void>()
      cloud.host.intercept = async (verb, _id, run) => {
        if (verb !== 'readGuestHealth') return run()
        throw new HostError('unreachable', 'The host does not answer.')
      }
      assertFault(await change(cloud), 503, /try again/)
      cloud.host.intercept = (verb, _id, run) => {
        if (verb !== 'readGuestHealth') return run()
        asked.resolve()
        return new Promise(() => {})
      }
      const answer = change(cloud)
      await asked.promise
      cloud.clock.advance(10_001)
      assertFault(await answer, 409, /No guest agent answers/)
      cloud.host.intercept = (_verb, _id, run) => run()
      assert.deepEqual(await countRows(cloud), counted)
      assert.deepEqual((await seen(cloud))[0], 'ACTIVE')
    })

    test('a guest that will not take it keeps the old one, and the server is as it was', async () => {
      await using cloud = await testCloud({ database, servers: { web: {} } })
      const before = await adminPassOf(cloud)
      const agent = agentOf(cloud)
      agent.missingUsers.add('root')
      assert.equal((await change(cloud)).statusCode, 202)
      await cloud.settled()
      assert.deepEqual(await seen(cloud), ['ACTIVE', 'active', null, undefined])
      assert.match((await lastEvents(cloud))[0] ?? '', /no user root/)
      agent.missingUsers.clear()
      agent.mood = 'refuses'
      assert.equal((await change(cloud)).statusCode, 202)
      await cloud.settled()
      assert.match((await lastEvents(cloud))[0] ?? '', /refused/)
      agent.mood = 'answers'
      // It goes while it is told.
      cloud.host.intercept = async (verb, id, run) => {
        if (verb === 'setGuestPassword') await cloud.host.ensureOff(id)
        return run()
      }
      assert.equal((await change(cloud)).statusCode, 202)
      await cloud.settled()
      await cloud.advanceUntil(async () => (await cloud.server('web')).vmState === 'stopped')
      assert.deepEqual(await cloud.actions('web'), ['create Success', ...Array(3).fill('changePassword Error')])
      assert.equal(await adminPassOf(cloud), before)
      assert.deepEqual([...agent.passwords], [])
    })

    test('a guest that never answers is given up after two minutes, and takes the next one', async () => {
      await using cloud = await testCloud({ database, servers: { web: {} } })
      cloud.host.intercept = (verb, _id, run) => (verb === 'setGuestPassword' ? new Promise(() => {}) : run())
      assert.equal((await change(cloud)).statusCode, 202)
      const asked = async () => (await cloud.server('web')).taskState === null
      for (let passed = 0; passed < 200 && !(await asked()); passed++) {
        cloud.clock.advance(1_000)
        await new Promise((resolve) => setImmediate(resolve))
      }
      assert.deepEqual(await seen(cloud), ['ACTIVE', 'active', null, undefined])
      assert.deepEqual(await cloud.actions('web'), ['create Success', 'changePassword Error'])
      cloud.host.intercept = (_verb, _id, run) => run()
      assert.equal((await change(cloud, 'next')).statusCode, 202)
      await cloud.settled()
      assert.equal(agentOf(cloud).passwords.get('root'), 'next')
    })
  })

  describe(`${database}: the password that a guest posts`, () => {
    const shared = sharedCloud({ database, servers: { web: {}, gone: {} } })
    const path = (cloud: TestCloud, name = 'web') => `/servers/${cloud.id[name]}/os-server-password`
    const POSTED = Buffer.alloc(256, 7).toString('base64')

    test('is empty at first, is kept once, and may be posted again when it was cleared', async () => {
      const cloud = shared()
      const { db } = cloud.cloud
      const id = cloud.id.web ?? ''
      const { updatedAt } = await cloud.server('web')
      cloud.clock.advance(5_000)
      assert.deepEqual((await cloud.member.get(path(cloud))).json(), { password: '' })
      assert.equal(await keepGuestPassword(db, id, ' \n'), 'kept')
      assert.deepEqual((await cloud.member.get(path(cloud))).json(), { password: '' })
      assert.equal(await keepGuestPassword(db, id, `${POSTED}\n`), 'kept')
      assert.deepEqual((await cloud.member.get(path(cloud))).json(), { password: POSTED })
      assert.equal(await keepGuestPassword(db, id, 'QUJD'), 'taken')
      assert.deepEqual((await cloud.member.get(path(cloud))).json(), { password: POSTED })
      assert.equal((await cloud.server('web')).updatedAt, updatedAt)
      for (let times = 0; times < 2; times++) {
        const cleared = await cloud.member.delete(path(cloud))
        assert.deepEqual([cleared.statusCode, cleared.body], [204, ''])
        assert.deepEqual((await cloud.member.get(path(cloud))).json(), { password: '' })
      }
      assert.equal(await keepGuestPassword(db, id, 'QUJD'), 'kept')
    })

    test('what is too long, or no base64, is not kept', async () => {
      const cloud = shared()
      const { db } = cloud.cloud
      const id = cloud.id.gone ?? ''
      assert.equal(await keepGuestPassword(db, id, 'A'.repeat(1021)), 'tooLong')
      for (const text of ['<script>', 'a\u0000b', 'ü', '{}'])
        assert.equal(await keepGuestPassword(db, id, text), 'noBase64')
      assert.deepEqual((await cloud.member.get(path(cloud, 'gone'))).json(), { password: '' })
      assert.equal(await keepGuestPassword(db, id, 'A'.repeat(1020)), 'kept')
    })

    test('is read by readers of its project alone, cleared by members, and goes with its server', async () => {
      const cloud = shared()
      const { db } = cloud.cloud
      const stranger = await cloud.stranger()
      const theirs = stranger.projectId
      assertFault(await stranger.get(path(cloud)), 404, /could not be found/)
      assertFault(await stranger.delete(path(cloud)), 404, /could not be found/)
      const reader = await cloud.stranger('reader')
      assertFault(await reader.delete(path(cloud)), 403, /servers:update/)
      await setServer(cloud, 'gone', { projectId: reader.projectId })
      assert.equal((await reader.get(path(cloud, 'gone'))).statusCode, 200)
      await setServer(cloud, 'gone', { projectId: cloud.member.projectId })
      assert.notEqual(theirs, cloud.member.projectId)
      await cloud.member.delete(`/servers/${cloud.id.gone}`)
      await cloud.settled()
      assert.equal((await cloud.server('gone')).guestPassword, null)
      assertFault(await cloud.member.get(path(cloud, 'gone')), 404, /could not be found/)
      assert.equal(await keepGuestPassword(db, cloud.id.gone ?? '', 'QUJD'), 'taken')
    })
  })
}
