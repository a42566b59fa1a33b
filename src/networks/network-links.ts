/** What a thing of the network API is linked with, according to the rows: what must follow when it changes. */

import type { Reader } from '../db/database.ts'
import { OWNERS, ROUTER_ENDS } from '../db/device-owners.ts'
import type { NetworkChange } from './network-changes.ts'

/** The things linked with this one, each once, in no order; empty when it has no row (any more). */
export async function linksOf(read: Reader, { kind, id }: NetworkChange): Promise<NetworkChange[]> {
  switch (kind) {
    case 'network':
      return asChanges('router', await routersOn(read, id))
    case 'port':
      return linksOfPort(read, id)
    case 'securityGroup':
      return asChanges('securityGroup', await groupsThatName(read, [id]))
    case 'router':
      return []
  }
}

async function routersOn(read: Reader, networkId: string): Promise<string[]> {
  const ends = await read
    .selectFrom('ports')
    .select('deviceId')
    .where('networkId', '=', networkId)
    .where('deviceOwner', 'in', ROUTER_ENDS)
    .execute()
  return ends.map(({ deviceId }) => deviceId)
}

async function linksOfPort(read: Reader, portId: string): Promise<NetworkChange[]> {
  const port = await read
    .selectFrom('ports')
    .select(['networkId', 'deviceId', 'deviceOwner'])
    .where('id', '=', portId)
    .executeTakeFirst()
  if (!port) return []
  const groups = await read
    .selectFrom('portSecurityGroups')
    .select('securityGroupId')
    .where('portId', '=', portId)
    .execute()
  const floatingIps = await read
    .selectFrom('floatingIps')
    .select('routerId')
    .where((where) => where.or([where('portId', '=', portId), where('floatingPortId', '=', portId)]))
    .execute()
  const forwardings = await read
    .selectFrom('portForwardings')
    .select('routerId')
    .where('insidePortId', '=', portId)
    .execute()
  const routers = [...floatingIps, ...forwardings].flatMap(({ routerId }) => routerId ?? [])
  if (ROUTER_ENDS.includes(port.deviceOwner)) routers.push(port.deviceId)
  const groupIds = groups.map(({ securityGroupId }) => securityGroupId)
  return [
    ...asChanges('router', routers),
    ...asChanges('securityGroup', await groupsThatName(read, groupIds)),
    ...asChanges('network', port.deviceOwner === OWNERS.dhcp ? [port.networkId] : []),
  ]
}

/** The groups with rules for which one of these is remote, each once. */
export async function groupsThatName(read: Reader, groupIds: readonly string[]): Promise<string[]> {
  if (groupIds.length === 0) return []
  const rules = await read
    .selectFrom('securityGroupRules')
    .select('securityGroupId')
    .distinct()
    .where('remoteGroupId', 'in', groupIds)
    .execute()
  return rules.map(({ securityGroupId }) => securityGroupId)
}

const asChanges = (kind: NetworkChange['kind'], ids: string[]): NetworkChange[] =>
  [...new Set(ids)].map((id) => ({ kind, id }))
