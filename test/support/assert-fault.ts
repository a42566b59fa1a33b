import assert from 'node:assert/strict'
import type { Answer } from './test-cloud.ts'

const KEYS: Record<number, string> = {
  400: 'badRequest',
  403: 'forbidden',
  404: 'itemNotFound',
  405: 'badMethod',
  409: 'conflictingRequest',
  413: 'overLimit',
  415: 'badMediaType',
  501: 'notImplemented',
  503: 'serviceUnavailable',
}
const REQUEST_ID = /^req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/**
 * Asserts that an answer is a fault of the compute service: status, envelope and nothing else in it, content type,
 * request ids.
 * @param what said when it is not.
 */
export function assertFault(answer: Answer, status: number, message: RegExp, what = ''): void {
  assert.equal(answer.statusCode, status, `${what} ${answer.body.slice(0, 500)}`)
  const key = KEYS[status] ?? 'computeFault'
  const body = answer.json()
  assert.deepEqual(Object.keys(body), [key], what)
  assert.deepEqual(Object.keys(body[key]).sort(), ['code', 'message'], what)
  assert.equal(body[key].code, status, what)
  assert.match(body[key].message, message, what)
  assert.match(String(answer.headers['content-type']), /^application\/json; charset=utf-8$/i, what)
  assertRequestIds(answer)
}

/** Asserts that an answer names its request under both header names. */
export function assertRequestIds(answer: Answer): void {
  assert.match(String(answer.headers['x-compute-request-id']), REQUEST_ID)
  assert.equal(answer.headers['x-openstack-request-id'], answer.headers['x-compute-request-id'])
}
