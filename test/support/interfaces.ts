/** Network cards of servers as a user changes them, and as rows and hosts have them. */
import assert from 'node:assert/strict'
import type { Row } from '../../src/db/schema.ts'
import { addNetwork } from './network-rows.ts'
import type { Client, TestCloud } from './test-cloud.ts'

export interface Interface {
  port_id: string
  net_id: string
  mac_addr: string
  port_state: string
  fixed_ips: { subnet_id: string; ip_address: string }[]
}

export const path = (cloud: TestCloud, name = 'web') => `/servers/${cloud.id[name]}/os-interface`

export const attach = (cloud: TestCloud, interfaceAttachment: unknown, name = 'web', client: Client = cloud.member) =>
  client.post(path(cloud, name), { interfaceAttachment })

export async function attached(cloud: TestCloud, wish: unknown, name = 'web'): Promise<Interface> {
  const answer = await attach(cloud, wish, name)
  assert.equal(answer.statusCode, 200, answer.body)
  await cloud.settled()
  return answer.json().interfaceAttachment
}

export async function list(cloud: TestCloud, name = 'web'): Promise<Interface[]> {
  const answer = await cloud.member.get(path(cloud, name))
  assert.equal(answer.statusCode, 200, answer.body)
  return answer.json().interfaceAttachments
}

export async function detach(cloud: TestCloud, portId: string, name = 'web'): Promise<void> {
  const answer = await cloud.member.delete(`${path(cloud, name)}/${portId}`)
  assert.equal(answer.statusCode, 202, answer.body)
  assert.equal(answer.body, '')
  await cloud.settled()
}

/** The cards the guest has, sorted. */
export const cardsOf = (cloud: TestCloud, name = 'web') =>
  [...(cloud.machine.servers.get(cloud.id[name] ?? '')?.cards.keys() ?? [])].sort()

export const findPort = (cloud: TestCloud, id: string) =>
  cloud.cloud.db.read.selectFrom('ports').selectAll().where('id', '=', id).executeTakeFirst()

export const setServer = (cloud: TestCloud, name: string, change: Partial<Row<'servers'>>) =>
  cloud.cloud.db.transaction((tx) =>
    tx
      .updateTable('servers')
      .set(change)
      .where('id', '=', cloud.id[name] ?? '')
      .execute(),
  )

export const ownNetwork = (cloud: TestCloud, cidr = '10.9.0.0/24', name = 'private') =>
  addNetwork(cloud, { projectId: cloud.member.projectId, cidr, name })

export const readSubnet = (cloud: TestCloud, networkId: string) =>
  cloud.cloud.db.read.selectFrom('subnets').selectAll().where('networkId', '=', networkId).executeTakeFirstOrThrow()
