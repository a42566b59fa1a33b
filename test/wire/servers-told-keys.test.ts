/** S18 and S19: keys of a server whose guest cannot be told at once are told later, and by whoever can. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { HostError } from '../../src/host/host-driver.ts'
import { newGuest } from '../support/asking-guest.ts'
import { KEYS } from '../support/public-keys.ts'
import { addKeypairs, done, inGuest, keyNameOf, lastAction, namesOf, setServer } from '../support/server-keys.ts'
import { sharedCloud } from '../support/shared-cloud.ts'
import { DATABASES, testCloud } from '../support/test-cloud.ts'

for (const database of DATABASES) {
  describe(database, () => {
    const shared = sharedCloud({ database, servers: { web: {}, off: {}, silent: {}, none: {} } })
    let isPrepared = false
    const prepared = async () => {
      const cloud = shared()
      if (!isPrepared) await addKeypairs(cloud.member)
      isPrepared = true
      return cloud
    }

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
  })
}
