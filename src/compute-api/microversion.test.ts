import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NEWEST_VERSION, readMicroversion, versionText } from './microversion.ts'

const newest = versionText(NEWEST_VERSION)
const asked = (service?: string, nova?: string): number =>
  readMicroversion({ 'openstack-api-version': service, 'x-openstack-nova-api-version': nova })
const faultOf = (ask: () => number): string => {
  try {
    return `no fault but ${ask()}`
  } catch (error) {
    return (error as { fault: string }).fault
  }
}

test('without a header a request speaks the oldest version', () => {
  assert.equal(asked(), 1)
  assert.equal(asked('identity 3.0, volume 3.71'), 1)
})

test('either header names the version, the standard one first, the last entry of each', () => {
  assert.equal(asked('compute 2.1'), 1)
  assert.equal(asked('identity 3.0, COMPUTE  2.1'), 1)
  assert.equal(asked(undefined, '2.1'), 1)
  assert.equal(asked('compute 2.1', '9.9'), 1)
  assert.equal(asked('compute 9.9, compute 2.1'), 1)
  assert.equal(asked(undefined, '9.9, 2.1'), 1)
  assert.equal(asked('volume 3.1', '2.1'), 1)
})

test('latest is the newest version', () => {
  assert.equal(asked('compute latest'), NEWEST_VERSION)
  assert.equal(asked(undefined, newest), NEWEST_VERSION)
})

test('what is no version is a bad request', () => {
  for (const text of ['', '2', '2.', '2.01', '02.1', '2.1.0', 'newest', '2.1 x', '-2.1', '2,1x', '٢.١']) {
    assert.equal(
      faultOf(() => asked(`compute ${text}`)),
      'badRequest',
      text,
    )
  }
})

test('a version that is not offered is not acceptable', () => {
  for (const text of ['2.0', `2.${NEWEST_VERSION + 1}`, '1.1', '3.0', '2.99999999999999999999']) {
    assert.equal(
      faultOf(() => asked(`compute ${text}`)),
      'notAcceptable',
      text,
    )
  }
})
