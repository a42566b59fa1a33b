import assert from 'node:assert/strict'
import { test } from 'node:test'
import { askToken, byPassword, byToken, passwordOf } from '../support/identity-requests.ts'
import { DATABASES, type TestCloud, testCloud } from '../support/test-cloud.ts'

const ATTACKER = '192.0.2.1'

async function guess(cloud: TestCloud, name: string, remoteAddress = ATTACKER) {
  return askToken(cloud, { identity: byPassword(name, 'wrong') }, { remoteAddress })
}

for (const database of DATABASES) {
  test(`${database}: after five failures in a row guesses pause, longer each time`, async () => {
    await using cloud = await testCloud({ database })
    for (let i = 0; i < 5; i++) assert.equal((await guess(cloud, 'demo')).statusCode, 401)
    const pauses: number[] = []
    for (let i = 0; i < 9; i++) {
      const paused = await guess(cloud, 'demo')
      assert.equal(paused.statusCode, 429)
      assert.deepEqual(Object.keys(paused.json()), ['error'])
      assert.equal(paused.json().error.title, 'Too Many Requests')
      const seconds = Number(paused.headers['retry-after'])
      pauses.push(seconds)
      cloud.clock.advance(seconds * 1000 - 1)
      assert.equal((await guess(cloud, 'demo')).statusCode, 429)
      cloud.clock.advance(1)
      assert.equal((await guess(cloud, 'demo')).statusCode, 401)
    }
    assert.deepEqual(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60])
    const { body } = await cloud.app.inject('/metrics')
    assert.match(body, /novella_logins_total\{result="throttled"\} 18/)
  })

  test(`${database}: a pause holds the right password up there, and nobody elsewhere`, async () => {
    await using cloud = await testCloud({ database })
    for (let i = 0; i < 5; i++) await guess(cloud, 'demo')
    const right = { identity: byPassword('demo', passwordOf(cloud, 'demo')) }
    const byId = {
      identity: {
        methods: ['password'],
        password: { user: { id: cloud.member.userId, password: passwordOf(cloud, 'demo') } },
      },
    }
    assert.equal((await askToken(cloud, right, { remoteAddress: ATTACKER })).statusCode, 429)
    assert.equal((await askToken(cloud, byId, { remoteAddress: ATTACKER })).statusCode, 429)
    assert.equal((await askToken(cloud, right, { remoteAddress: '192.0.2.2' })).statusCode, 201)
    const admin = { identity: byPassword('admin', passwordOf(cloud, 'admin')) }
    assert.equal((await askToken(cloud, admin, { remoteAddress: ATTACKER })).statusCode, 201)
    // A token is no guess.
    const token = { identity: byToken(cloud.member.token) }
    assert.equal((await askToken(cloud, token, { remoteAddress: ATTACKER })).statusCode, 201)
    cloud.clock.advance(1000)
    assert.equal((await askToken(cloud, right, { remoteAddress: ATTACKER })).statusCode, 201)
    // The right password has ended the row.
    for (let i = 0; i < 5; i++) assert.equal((await guess(cloud, 'demo')).statusCode, 401)
  })

  test(`${database}: a pause tells nothing about who exists`, async () => {
    await using cloud = await testCloud({ database })
    const answers: unknown[][] = []
    for (const name of ['demo', 'nobody']) {
      const seen: unknown[] = []
      for (let i = 0; i < 7; i++) {
        const { statusCode, headers, body } = await guess(cloud, name)
        seen.push([statusCode, headers['retry-after'], body])
      }
      answers.push(seen)
    }
    assert.deepEqual(answers[0], answers[1])
  })

  test(`${database}: guesses at many names from one address pause too, but not who got in from there before`, async () => {
    await using cloud = await testCloud({ database })
    const demo = { identity: byPassword('demo', passwordOf(cloud, 'demo')) }
    const admin = { identity: byPassword('admin', passwordOf(cloud, 'admin')) }
    assert.equal((await askToken(cloud, demo, { remoteAddress: ATTACKER })).statusCode, 201)
    for (let i = 0; i < 50; i++) assert.equal((await guess(cloud, `name-${i}`)).statusCode, 401)
    assert.equal((await guess(cloud, 'one more')).statusCode, 429)
    assert.equal((await askToken(cloud, admin, { remoteAddress: ATTACKER })).statusCode, 429)
    assert.equal((await askToken(cloud, demo, { remoteAddress: ATTACKER })).statusCode, 201)
    assert.equal((await askToken(cloud, admin, { remoteAddress: '192.0.2.2' })).statusCode, 201)
    cloud.clock.advance(15 * 60_000)
    assert.equal((await guess(cloud, 'one more')).statusCode, 401)
  })

  test(`${database}: many guesses at once are no more than one after the other`, async () => {
    await using cloud = await testCloud({ database })
    const answers = await Promise.all(Array.from({ length: 60 }, () => guess(cloud, 'demo')))
    const refused = answers.filter((answer) => answer.statusCode === 401).length
    assert.ok(refused >= 5, `${refused}`)
    // One more for each that was being computed when the fifth failed.
    assert.ok(refused < 5 + 16, `${refused}`)
    assert.equal(answers.length - refused, answers.filter((answer) => answer.statusCode === 429).length)
  })

  test(`${database}: forty right logins at once all succeed`, async () => {
    await using cloud = await testCloud({ database })
    const right = { identity: byPassword('demo', passwordOf(cloud, 'demo')) }
    const answers = await Promise.all(Array.from({ length: 40 }, () => askToken(cloud, right)))
    assert.deepEqual(new Set(answers.map((answer) => answer.statusCode)), new Set([201]))
    assert.equal(new Set(answers.map((answer) => answer.headers['x-subject-token'])).size, 40)
  })

  test(`${database}: a proxy on this machine says who asks, and nobody else does`, async () => {
    await using cloud = await testCloud({ database, config: { publicUrl: 'https://cloud.example' } })
    const ask = (remoteAddress: string, forwardedFor: string) =>
      cloud.app.inject({
        method: 'POST',
        url: '/v3/auth/tokens',
        remoteAddress,
        headers: { 'x-forwarded-for': forwardedFor },
        payload: { auth: { identity: byPassword('demo', 'wrong') } },
      })
    for (let i = 0; i < 5; i++) await ask(ATTACKER, `198.51.100.${i}`)
    assert.equal((await ask(ATTACKER, '198.51.100.9')).statusCode, 429)
    for (let i = 0; i < 5; i++) await ask('127.0.0.1', '203.0.113.1')
    assert.equal((await ask('127.0.0.1', '203.0.113.1')).statusCode, 429)
    assert.equal((await ask('127.0.0.1', '203.0.113.2')).statusCode, 401)
  })
}
