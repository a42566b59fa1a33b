/** What tests of a server's keys ask, and what they look at afterwards. */
import assert from 'node:assert/strict'
import { listActions, listEvents } from '../../src/actions/journal.ts'
import type { Row } from '../../src/db/schema.ts'
import { listServerKeypairs } from '../../src/servers/server-keypair-store.ts'
import { KEYS } from './public-keys.ts'
import type { Client, TestCloud } from './test-cloud.ts'

export type Verb = 'attachKeypairs' | 'detachKeypairs'

export const ask = (cloud: TestCloud, verb: Verb, key_names: unknown, id: string, who: Client = cloud.member) =>
  who.post(`/servers/${cloud.id[id] ?? id}/action`, { [verb]: { key_names } })

/** Asks, and lets the guest be told. */
export async function done(cloud: TestCloud, verb: Verb, names: string[], id: string): Promise<void> {
  const answer = await ask(cloud, verb, names, id)
  assert.deepEqual([answer.statusCode, answer.body], [202, ''])
  await cloud.settled()
}

export async function addKeypair(who: Client, name: string, public_key: string): Promise<void> {
  const { statusCode, body } = await who.post('/os-keypairs', { keypair: { name, public_key } })
  assert.equal(statusCode, 200, body)
}

export async function addKeypairs(who: Client): Promise<void> {
  for (const [name, publicKey] of Object.entries(KEYS)) await addKeypair(who, name, publicKey)
}

export const setServer = (cloud: TestCloud, name: string, to: Partial<Row<'servers'>>) =>
  cloud.cloud.db.transaction((tx) =>
    tx
      .updateTable('servers')
      .set(to)
      .where('id', '=', cloud.id[name] ?? name)
      .execute(),
  )

export const namesOf = async (cloud: TestCloud, id: string): Promise<string[]> =>
  (await listServerKeypairs(cloud.cloud.db.read, cloud.id[id] ?? id)).map(({ name }) => name)

export const inGuest = (cloud: TestCloud, id: string, userName = 'root'): string[] =>
  cloud.host.agentOf(cloud.id[id] ?? id).keys.get(userName) ?? []

export async function keyNameOf(cloud: TestCloud, id: string): Promise<string | null> {
  return (await cloud.member.get(`/servers/${cloud.id[id] ?? id}`)).json().server.key_name
}

/** How the last action of a server ended, and what its steps say. */
export async function lastAction(cloud: TestCloud, id: string): Promise<unknown[]> {
  const { read } = cloud.cloud.db
  const last = (await listActions(read, cloud.id[id] ?? id)).at(-1)
  const events = last ? await listEvents(read, last.id) : []
  return [last?.name, last?.result, ...events.map(({ message }) => message)]
}
