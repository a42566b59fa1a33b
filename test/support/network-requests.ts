/** Asking the network API in tests: both dialects, and its way to refuse. */
import assert from 'node:assert/strict'
import type { NetworkErrorType } from '../../src/network-api/network-errors.ts'
import type { Answer, Client } from './test-cloud.ts'

// biome-ignore lint/suspicious/noExplicitAny: answers are what they are; tests say what they expect of them
export type Body = any

/** Where each dialect's paths begin, for `Client`. */
export const DIALECTS = { uos: '//v2.0', neutron: '//network/v2.0' } as const
export type Dialect = keyof typeof DIALECTS

/** Asserts that an answer is a failure of the network service: status, type and nothing else in its envelope. */
export function assertNetworkError(answer: Answer, status: number, type: NetworkErrorType, what = ''): void {
  assert.equal(answer.statusCode, status, `${what} ${answer.body.slice(0, 500)}`)
  const body = answer.json()
  assert.deepEqual(Object.keys(body), ['NeutronError'], what)
  assert.deepEqual(Object.keys(body.NeutronError).sort(), ['detail', 'message', 'type'], what)
  assert.equal(body.NeutronError.type, type, `${what} ${body.NeutronError.message}`)
  assert.match(body.NeutronError.message, /\S/, what)
}

/** The body of an answer that went well. */
export function bodyOf(answer: Answer, status: number): Body {
  assert.equal(answer.statusCode, status, answer.body.slice(0, 500))
  return status === 204 ? undefined : answer.json()
}

/** Makes one thing by the Neutron dialect; `resource` is as in the path: `security-groups`. */
export async function make(client: Client, resource: string, wish: Body): Promise<Body> {
  const singular = resource.replaceAll('-', '_').replace(/s$/, '')
  const answer = await client.post(`${DIALECTS.neutron}/${resource}`, { [singular]: wish })
  return bodyOf(answer, 201)[singular]
}
