/** Under `/v2`, members that nobody knows are passed over, at any depth: old clients and new ones send what they like. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SHARED_NETWORK_ID } from '../../src/networks/seed-networks.ts'
import { byPassword, passwordOf } from '../support/identity-requests.ts'
import { DATABASES, testCloud } from '../support/test-cloud.ts'

const MORE = { colour: 'blue', 'os:colour': { of: ['anything', 1, null] } }

for (const database of DATABASES) {
  test(`${database}: unknown members are passed over by every body that is read`, async () => {
    await using cloud = await testCloud({ database })
    const wish = await cloud.wish({ networks: [{ uuid: SHARED_NETWORK_ID, ...MORE }], ...MORE })
    const made = await cloud.member.post('/servers', { ...wish, ...MORE })
    assert.equal(made.statusCode, 202, made.body)
    const { id } = made.json().server
    await cloud.settled()
    const renamed = await cloud.member.put(`/servers/${id}`, { server: { name: 'new', ...MORE }, ...MORE })
    assert.equal(renamed.statusCode, 200, renamed.body)
    const { server } = renamed.json()
    assert.equal(server.name, 'new')
    for (const name of Object.keys(MORE)) assert.ok(!(name in server), name)
    for (const [action, status] of [
      [{ reboot: { type: 'HARD', ...MORE } }, 202],
      [{ 'os-getConsoleOutput': { length: 1, ...MORE } }, 200],
      [{ 'os-getVNCConsole': { type: 'novnc', ...MORE } }, 202],
      [{ 'os-stop': MORE }, 202],
      [{ 'os-start': MORE }, 202],
      [{ 'os-shutdown': MORE }, 202],
    ] as const) {
      const answer = await cloud.member.post(`/servers/${id}/action`, action)
      assert.equal(answer.statusCode, status, `${JSON.stringify(action)} ${answer.body}`)
      await cloud.settled()
    }
    const keypair = await cloud.member.post('/os-keypairs', { keypair: { name: 'mine', ...MORE }, ...MORE })
    assert.equal(keypair.statusCode, 200, keypair.body)
    const identity = { ...byPassword('demo', passwordOf(cloud, 'demo')), ...MORE }
    const login = await cloud.app.inject({
      method: 'POST',
      url: '/v3/auth/tokens',
      payload: { auth: { identity, ...MORE }, ...MORE },
    })
    assert.equal(login.statusCode, 201, login.body)
  })
}
