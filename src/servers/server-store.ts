import { sql } from 'kysely'
import type { Reader, Tx } from '../db/database.ts'
import { prepared } from '../db/prepared.ts'
import type { Row } from '../db/schema.ts'
import { ApiError } from '../http/api-error.ts'
import type { Caller } from '../http/policy.ts'
import { listVolumesOf } from './block-device-store.ts'

/** One address of a card, with what its views tell of port, subnet and network. */
export interface CardAddress {
  serverId: string
  portId: string
  macAddress: string
  networkName: string
  ipAddress: string | null
  ipVersion: 4 | 6 | null
  subnetId: string | null
  subnetName: string | null
  isShared: 0 | 1
  /** The address outside that leads to this one. */
  floatingIpAddress: string | null
  securityGroupId: string | null
  securityGroupName: string | null
}

/** A server and its cards: what views are made of. */
export interface ShownServer {
  server: Row<'servers'>
  /** One row for each (card, address, security group), first card first. */
  cards: CardAddress[]
  /** In the order of their device names. */
  volumeIds: string[]
}

/**
 * A server of the caller's project, or of any for an admin.
 * @throws ApiError itemNotFound; also for another project's, so that nobody learns what exists.
 */
export async function getServer(read: Reader, caller: Caller, id: string): Promise<Row<'servers'>> {
  const server = await findServer(read, id)
  if (!server || (server.projectId !== caller.projectId && !caller.isAdmin)) throw serverNotFound(id)
  return server
}

export const serverNotFound = (id: string): ApiError =>
  new ApiError('itemNotFound', `Instance ${id} could not be found.`)

/** A server that was not deleted, whoever's it is; undefined when there is none. */
export async function findServer(read: Reader, id: string): Promise<Row<'servers'> | undefined> {
  const [server] = await serverById(read, { id })
  return server
}

const serverById = prepared((read, { id }: { id: string }) =>
  read.selectFrom('servers').selectAll().where('id', '=', id).where('deletedAt', 'is', null),
)

/** These servers with their cards and volumes, in one question each. */
export async function withCards(read: Reader, servers: Row<'servers'>[]): Promise<ShownServer[]> {
  const [first] = servers
  if (!first) return []
  const rows =
    servers.length === 1
      ? await cardsOfOne(read, { id: first.id })
      : await cardsOf(
          read,
          servers.map((server) => server.id),
        ).execute()
  const byServer = Map.groupBy(rows, (row) => row.serverId)
  const volumes = await listVolumesOf(
    read,
    servers.map((server) => server.id),
  )
  return servers.map((server) => ({
    server,
    cards: byServer.get(server.id) ?? [],
    volumeIds: volumes.get(server.id) ?? [],
  }))
}

const cardsOfOne = prepared((read, { id }: { id: string }) => cardsOf(read, [id]))

/** IPv4 first: clients take the first address they see. */
function cardsOf(read: Reader, serverIds: string[]) {
  return read
    .selectFrom('ports')
    .innerJoin('networks', 'networks.id', 'ports.networkId')
    .leftJoin('portAddresses', 'portAddresses.portId', 'ports.id')
    .leftJoin('subnets', 'subnets.id', 'portAddresses.subnetId')
    .leftJoin('floatingIps', (join) =>
      join
        .onRef('floatingIps.portId', '=', 'ports.id')
        .onRef('floatingIps.fixedIpAddress', '=', 'portAddresses.ipAddress'),
    )
    .leftJoin('portSecurityGroups', 'portSecurityGroups.portId', 'ports.id')
    .leftJoin('securityGroups', 'securityGroups.id', 'portSecurityGroups.securityGroupId')
    .select([
      'ports.deviceId as serverId',
      'ports.id as portId',
      'ports.macAddress',
      'networks.name as networkName',
      'networks.isShared',
      'portAddresses.ipAddress',
      'subnets.ipVersion',
      'subnets.id as subnetId',
      'subnets.name as subnetName',
      'floatingIps.floatingIpAddress',
      'securityGroups.id as securityGroupId',
      'securityGroups.name as securityGroupName',
    ])
    .where('ports.deviceId', 'in', serverIds)
    .orderBy('ports.position')
    .orderBy('subnets.ipVersion')
    .orderBy('portAddresses.ipAddress')
}

/** Numbers that count up over the whole cloud; `count` of them, the first is returned. */
export async function takeNumbers(tx: Tx, count: number): Promise<number> {
  await tx
    .insertInto('counters')
    .values({ name: 'servers', value: 0 })
    .onConflict((conflict) => conflict.doNothing())
    .execute()
  const { value } = await tx
    .updateTable('counters')
    .set({ value: sql`value + ${count}` })
    .where('name', '=', 'servers')
    .returning('value')
    .executeTakeFirstOrThrow()
  return value - count + 1
}

/** Makes creates wait for each other until they commit, so that none counts what is used while another adds to it. */
export async function takeTurn(tx: Tx): Promise<void> {
  await takeNumbers(tx, 0)
}

/** Writes to a server; its `updated` moves on. */
export async function updateServer(tx: Tx, id: string, change: Partial<Row<'servers'>>, now: number): Promise<void> {
  await tx
    .updateTable('servers')
    .set({ ...change, updatedAt: now })
    .where('id', '=', id)
    .execute()
}

/**
 * Writes to a server only while it is still as it was read: of two at once, one gets through.
 * @returns false for the other.
 */
export async function swapServer(
  tx: Tx,
  read: Pick<Row<'servers'>, 'id' | 'vmState' | 'taskState' | 'updatedAt'>,
  change: Partial<Row<'servers'>>,
  now: number,
): Promise<boolean> {
  const { numUpdatedRows } = await tx
    .updateTable('servers')
    .set({ ...change, updatedAt: now })
    .where('id', '=', read.id)
    .where('vmState', '=', read.vmState)
    .where('taskState', read.taskState === null ? 'is' : '=', read.taskState)
    .where('updatedAt', '=', read.updatedAt)
    .where('deletedAt', 'is', null)
    .executeTakeFirstOrThrow()
  return numUpdatedRows === 1n
}

/** What the servers of a project take together, as the quota counts it: failed ones too, until they are deleted. */
export async function readUsage(
  read: Reader,
  projectId: string,
): Promise<{ servers: number; vcpus: number; ramMib: number }> {
  const usage = await read
    .selectFrom('servers')
    .select(({ fn }) => [
      fn.countAll<number>().as('servers'),
      fn.sum<number | null>('vcpus').as('vcpus'),
      fn.sum<number | null>('ramMib').as('ramMib'),
    ])
    .where('projectId', '=', projectId)
    .where('deletedAt', 'is', null)
    .executeTakeFirstOrThrow()
  return { servers: Number(usage.servers), vcpus: Number(usage.vcpus ?? 0), ramMib: Number(usage.ramMib ?? 0) }
}
