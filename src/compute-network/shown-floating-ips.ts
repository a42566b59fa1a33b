/** Floating IPs and their pools as callers of compute know them: by address, by server, by the network's name. */
import type { Reader } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { ApiError } from '../http/api-error.ts'
import type { Caller } from '../http/policy.ts'

/** A floating IP, the server it leads to, and the network it is from. */
export interface ShownFloatingIp extends Row<'floatingIps'> {
  poolName: string
  serverId: string | null
}

/** The project's floating IPs, oldest first. */
export async function listFloatingIps(read: Reader, projectId: string): Promise<ShownFloatingIp[]> {
  return shown(await floatingIps(read).where('floatingIps.projectId', '=', projectId).execute())
}

/**
 * A floating IP of the caller's project, or of any for an admin.
 * @throws ApiError itemNotFound.
 */
export async function getFloatingIp(read: Reader, caller: Caller, id: string): Promise<ShownFloatingIp> {
  const [found] = shown(await floatingIps(read).where('floatingIps.id', '=', id).execute())
  if (found && (found.projectId === caller.projectId || caller.isAdmin)) return found
  throw new ApiError('itemNotFound', `Floating IP not found for ID ${id}.`)
}

function floatingIps(read: Reader) {
  return read
    .selectFrom('floatingIps')
    .innerJoin('networks', 'networks.id', 'floatingIps.floatingNetworkId')
    .leftJoin('ports', 'ports.id', 'floatingIps.portId')
    .selectAll('floatingIps')
    .select(['networks.name as poolName', 'ports.deviceId', 'ports.deviceOwner'])
    .orderBy('floatingIps.createdAt')
    .orderBy('floatingIps.id')
}

function shown(rows: Awaited<ReturnType<ReturnType<typeof floatingIps>['execute']>>): ShownFloatingIp[] {
  return rows.map(({ deviceId, deviceOwner, ...row }) => ({
    ...row,
    serverId: deviceOwner?.startsWith('compute:') ? deviceId : null,
  }))
}

/** The external networks, the default one first, then by age. */
export async function listPools(read: Reader): Promise<Pick<Row<'networks'>, 'id' | 'name'>[]> {
  return read
    .selectFrom('networks')
    .select(['id', 'name'])
    .where('isExternal', '=', 1)
    .orderBy('isDefault', 'desc')
    .orderBy('createdAt')
    .orderBy('id')
    .execute()
}

/**
 * The pool of this name or id; the first without a name.
 * @throws ApiError itemNotFound; conflictingRequest when several have the name.
 */
export async function getPool(read: Reader, nameOrId: string | null): Promise<Pick<Row<'networks'>, 'id' | 'name'>> {
  const pools = await listPools(read)
  const found = nameOrId === null ? pools.slice(0, 1) : pools.filter(({ id, name }) => [id, name].includes(nameOrId))
  const [pool, another] = found
  if (!pool) throw new ApiError('itemNotFound', `Floating IP pool ${nameOrId ?? ''} not found.`.replace('  ', ' '))
  if (another) throw new ApiError('conflictingRequest', `Several floating IP pools are named ${nameOrId}; use an id.`)
  return pool
}
