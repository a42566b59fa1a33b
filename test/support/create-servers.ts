import assert from 'node:assert/strict'
import type { Client, TestCloud } from './test-cloud.ts'

/** The network that every project sees. */
export const SHARED = 'ba05e057-1eb8-4cb2-af58-9b99a72df5ed'

export type Body = Record<string, unknown>
/** What tests read of a full view. */
export interface Detail extends Body {
  id: string
  name: string
  addresses: Record<string, (Body & { addr: string })[]>
  security_groups: { port_id: string; name: string; id: string }[]
}

/** Creates with a change, lets it build, and answers the full views, in the order of their numbers. */
export async function createServers(cloud: TestCloud, change: Body = {}, client = cloud.member): Promise<Detail[]> {
  const answer = await client.post('/servers', await cloud.wish(change))
  assert.equal(answer.statusCode, 202, answer.body)
  await cloud.settled()
  const { reservationId } = await cloud.server(answer.json().server.id)
  return (await listServers(client, `reservation_id=${reservationId}`)).reverse()
}

/** The full views that a query finds, the youngest first. */
export async function listServers(client: Client, query: string): Promise<Detail[]> {
  const { servers } = (await client.get(`/servers/detail?${query}`)).json()
  return servers.sort((a: Body, b: Body) =>
    String(a['OS-EXT-SRV-ATTR:instance_name']) < String(b['OS-EXT-SRV-ATTR:instance_name']) ? 1 : -1,
  )
}

/** Creates one server with a change, and answers its full view. */
export async function createServer(cloud: TestCloud, change: Body = {}, client = cloud.member): Promise<Detail> {
  const [server, another] = await createServers(cloud, change, client)
  assert.ok(server && !another)
  return server
}

/** All addresses of some servers. */
export const addressesOf = (servers: Detail[]) =>
  servers.flatMap((server) => Object.values(server.addresses).flatMap((entries) => entries.map(({ addr }) => addr)))
