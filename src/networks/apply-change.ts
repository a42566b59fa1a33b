/** Makes hosts follow one thing of the network API: reads its rows, asks the hosts, and writes down how it went. */

import type { Tx } from '../db/database.ts'
import { OWNERS, ROUTER_ENDS } from '../db/device-owners.ts'
import type { HostDriver } from '../host/host-driver.ts'
import { hostNameOf } from '../lib/host-names.ts'
import { readPortPlan } from '../ports/port-store.ts'
import { readRouterPlan } from '../routers/router-plan.ts'
import { readGroupPlan } from '../security-groups/group-plan.ts'
import type { NetworkChange, NetworkParts } from './network-changes.ts'
import { readNetworkPlan } from './network-store.ts'

/**
 * Makes all hosts that have it follow; a thing without a row goes from them.
 * @throws HostError, or AggregateError of several hosts; what did work stays.
 */
export async function applyChange(parts: NetworkParts, { kind, id }: NetworkChange): Promise<void> {
  switch (kind) {
    case 'network':
      return applyNetwork(parts, id)
    case 'port':
      return applyPort(parts, id)
    case 'securityGroup':
      return applyGroup(parts, id)
    case 'router':
      return applyRouter(parts, id)
  }
}

/** Writes down that a host could not follow: users see it of routers and their floating IPs. */
export async function applyFailed({ db }: NetworkParts, { kind, id }: NetworkChange): Promise<void> {
  if (kind !== 'router') return
  await db.transaction(async (tx) => {
    await tx.updateTable('routers').set({ status: 'ERROR' }).where('id', '=', id).execute()
    await tx.updateTable('floatingIps').set({ status: 'ERROR' }).where('routerId', '=', id).execute()
  })
}

/**
 * All that rows name, and all that hosts have without a row: what must be settled at the start. Cards of stopped servers
 * are left out unless their host has them: their start plugs them in.
 */
export async function listEverything({ db, hosts, log }: NetworkParts): Promise<NetworkChange[]> {
  // The hosts first: whatever they have by now had its row before.
  const onHosts = await Promise.all([...hosts.values()].map((host) => host.readNetworking()))
  const hostPorts = new Set(onHosts.flatMap(({ portIds }) => portIds))
  const hostRouters = new Set(onHosts.flatMap(({ routerIds }) => routerIds))
  const cards = await db.read
    .selectFrom('ports')
    .innerJoin('servers', 'servers.id', 'ports.deviceId')
    .select(['ports.id', 'servers.vmState', 'servers.hostName'])
    .where('servers.deletedAt', 'is', null)
    .where('servers.hostName', 'is not', null)
    .orderBy('ports.id')
    .execute()
  const here = cards.filter(({ hostName }) => hostName !== null && hosts.has(hostName))
  const routers = await db.read.selectFrom('routers').select('id').orderBy('id').execute()
  const networks = await db.read.selectFrom('networks').select('id').orderBy('id').execute()

  const strangePorts = hostPorts.difference(new Set(here.map(({ id }) => id)))
  const strangeRouters = hostRouters.difference(new Set(routers.map(({ id }) => id)))
  if (strangePorts.size + strangeRouters.size > 0) {
    const strangers = { portIds: [...strangePorts], routerIds: [...strangeRouters] }
    log.warn(strangers, 'removing ports and routers from the hosts that no row names')
  }
  const running = here.filter(({ id, vmState }) => hostPorts.has(id) || vmState !== 'stopped')
  return [
    ...routers.map(({ id }) => ({ kind: 'router', id }) as const),
    ...running.map(({ id }) => ({ kind: 'port', id }) as const),
    ...networks.map(({ id }) => ({ kind: 'network', id }) as const),
    ...[...strangePorts].map((id) => ({ kind: 'port', id }) as const),
    ...[...strangeRouters].map((id) => ({ kind: 'router', id }) as const),
  ]
}

async function applyNetwork({ db, hosts }: NetworkParts, id: string): Promise<void> {
  const exists = await db.read.selectFrom('networks').select('id').where('id', '=', id).executeTakeFirst()
  // A network goes from a host with the last of its ports there.
  if (!exists) return
  const plan = await readNetworkPlan(db.read, id)
  await onAll(hosts, (host) => host.ensureNetwork(plan))
  const services = await db.read
    .selectFrom('ports')
    .select(['id', 'status'])
    .where('networkId', '=', id)
    .where('deviceOwner', '=', OWNERS.dhcp)
    .execute()
  const status = plan.isUp ? 'ACTIVE' : 'DOWN'
  await settlePorts({ db }, services, status)
}

async function applyGroup({ db, hosts }: NetworkParts, id: string): Promise<void> {
  const exists = await db.read.selectFrom('securityGroups').select('id').where('id', '=', id).executeTakeFirst()
  // Only a group without ports can be deleted, and hosts know groups by their ports.
  if (!exists) return
  const plan = await readGroupPlan(db.read, id)
  await onAll(hosts, (host) => host.ensureSecurityGroup(plan))
}

async function applyPort(parts: NetworkParts, id: string): Promise<void> {
  const wanted = await readCard(parts, id)
  if (wanted === 'else' || wanted === 'leaving') return
  if (wanted === 'unplugged') return onAll(parts.hosts, (host) => host.removePort(id))
  await wanted.host.ensurePort(wanted.plan)
  // A server that is deleted, or being so, since then may have had its cards removed before ours came.
  const now = await readCard(parts, id)
  if (now === 'unplugged' || now === 'leaving') await wanted.host.removePort(id)
}

/**
 * Where and how a port is to be plugged in. `unplugged` when it belongs on no host; `leaving` when its server is being
 * deleted, whose action cares; `else` when somebody else does: routers and networks for their own ends.
 */
async function readCard({ db, hosts }: NetworkParts, id: string) {
  const port = await db.read.selectFrom('ports').selectAll().where('id', '=', id).executeTakeFirst()
  if (!port) return 'unplugged'
  if (port.deviceOwner.startsWith('network:')) return 'else'
  const server = await db.read
    .selectFrom('servers')
    .select(['name', 'hostName', 'taskState'])
    .where('id', '=', port.deviceId)
    .where('deletedAt', 'is', null)
    .executeTakeFirst()
  if (!server || server.hostName === null) return 'unplugged'
  const host = hosts.get(server.hostName)
  if (!host) return 'else'
  if (server.taskState === 'deleting') return 'leaving'
  return { host, plan: await readPortPlan(db.read, port, hostNameOf(server.name)) }
}

async function applyRouter(parts: NetworkParts, id: string): Promise<void> {
  const { db, hosts } = parts
  const plan = await readRouterPlan(db.read, id)
  if (!plan) return onAll(hosts, (host) => host.removeRouter(id))
  await onAll(hosts, (host) => host.ensureRouter(plan))
  const status = plan.isUp ? 'ACTIVE' : 'DOWN'
  const router = await db.read.selectFrom('routers').select('status').where('id', '=', id).executeTakeFirst()
  const ends = await db.read
    .selectFrom('ports')
    .select(['id', 'status'])
    .where('deviceId', '=', id)
    .where('deviceOwner', 'in', ROUTER_ENDS)
    .execute()
  const outside = new Set([
    ...plan.floatingIps.map(({ ipAddress }) => ipAddress),
    ...plan.portForwardings.map(({ outsideAddress }) => outsideAddress),
  ])
  const floatingIps = (
    await db.read
      .selectFrom('floatingIps')
      .select(['id', 'status', 'floatingIpAddress'])
      .where('routerId', '=', id)
      .execute()
  ).filter((floatingIp) => floatingIp.status !== status && outside.has(floatingIp.floatingIpAddress))
  if (router && router.status !== status) {
    await db.transaction((tx) => tx.updateTable('routers').set({ status }).where('id', '=', id).execute())
  }
  await settlePorts(parts, ends, status)
  if (floatingIps.length === 0) return
  await db.transaction(async (tx) => {
    const ids = floatingIps.map((floatingIp) => floatingIp.id)
    // Unbound meanwhile, it is down and stays so.
    const write = tx.updateTable('floatingIps').set({ status }).where('id', 'in', ids).where('routerId', '=', id)
    await write.execute()
  })
}

/** Writes only what is not so yet: most applications change nothing here, and a write would end all kept answers. */
async function settlePorts(
  { db }: Pick<NetworkParts, 'db'>,
  ports: { id: string; status: string }[],
  status: 'ACTIVE' | 'DOWN',
): Promise<void> {
  const ids = ports.filter((port) => port.status !== status).map(({ id }) => id)
  if (ids.length === 0) return
  await db.transaction((tx: Tx) => tx.updateTable('ports').set({ status }).where('id', 'in', ids).execute())
}

/** Asks all hosts, and lets none keep another from following. */
async function onAll(hosts: ReadonlyMap<string, HostDriver>, ask: (host: HostDriver) => Promise<void>): Promise<void> {
  const results = await Promise.allSettled([...hosts.values()].map(ask))
  const errors = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
  if (errors.length === 1) throw errors[0]
  if (errors.length > 1) throw new AggregateError(errors, 'Several hosts could not follow.')
}
