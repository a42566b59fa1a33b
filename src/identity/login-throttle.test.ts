import assert from 'node:assert/strict'
import { test } from 'node:test'
import { callerOf, LoginThrottle, pauseMs } from './login-throttle.ts'

test('the pause doubles from one second to a minute, once the free failures are used up', () => {
  const pauses = Array.from({ length: 14 }, (_, failures) => pauseMs(failures, 5) / 1000)
  assert.deepEqual(pauses, [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60])
  assert.equal(pauseMs(100_000, 5), 60_000)
})

test('one caller is an IPv4 address, however written, or the /64 of an IPv6 address', () => {
  const rows: [string, string][] = [
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['::FFFF:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:DB8:1:2::6', '2001:db8:1:2::/64'],
    ['2001:0db8:0001:0002::', '2001:db8:1:2::/64'],
    ['2001:db8::6', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['', ''],
  ]
  for (const [address, caller] of rows) assert.equal(callerOf(address), caller, address)
})

test('failures are forgotten a quarter of an hour after the last one', () => {
  const throttle = new LoginThrottle()
  const attempt = { user: 'demo', address: '192.0.2.1' }
  for (let i = 0; i < 20; i++) throttle.failed(attempt, 0)
  assert.equal(throttle.waitMs(attempt, 0), 60_000)
  assert.equal(throttle.waitMs(attempt, 60_000), 0)
  throttle.failed(attempt, 15 * 60_000 - 1)
  assert.equal(throttle.waitMs(attempt, 15 * 60_000), 59_999)
  throttle.failed(attempt, 60 * 60_000)
  assert.equal(throttle.waitMs(attempt, 60 * 60_000), 0)
})

test('what is kept in mind has a bound, and whoever is not seen longest goes first', () => {
  const throttle = new LoginThrottle()
  const early = { user: 'early', address: '192.0.2.1' }
  const kept = { user: 'kept', address: '192.0.2.2' }
  for (let i = 0; i < 5; i++) throttle.failed(early, 0)
  for (let i = 0; i < 5; i++) throttle.failed(kept, 0)
  for (let i = 0; i < 9_999; i++) throttle.failed({ user: 'crowd', address: `crowd-${i}` }, 0)
  assert.equal(throttle.waitMs(early, 0), 0)
  assert.equal(throttle.waitMs(kept, 0), 1000)
})
