import type { Static } from 'typebox'
import type { Cloud } from '../cloud.ts'
import type { Row } from '../db/schema.ts'
import type { Caller } from '../http/policy.ts'
import type { UpdateServerRequest } from './server-schema.ts'
import { getServer, updateServer } from './server-store.ts'

/**
 * Renames a server, or changes what else may be changed at any time, in any state.
 * @returns the row as it is then.
 * @throws ApiError itemNotFound.
 */
export async function updateServerDetails(
  cloud: Cloud,
  caller: Caller,
  serverId: string,
  wish: Static<typeof UpdateServerRequest>['server'],
): Promise<Row<'servers'>> {
  return cloud.db.transaction(async (tx) => {
    await getServer(tx, caller, serverId)
    const change: Partial<Row<'servers'>> = {}
    if (wish.name !== undefined) change.name = wish.name.trim()
    if (wish.accessIPv4 !== undefined) change.accessIpv4 = wish.accessIPv4 ?? ''
    if (wish.accessIPv6 !== undefined) change.accessIpv6 = wish.accessIPv6 ?? ''
    if (wish['OS-DCF:diskConfig'] !== undefined) change.diskConfig = wish['OS-DCF:diskConfig']
    await updateServer(tx, serverId, change, cloud.clock.now())
    return getServer(tx, caller, serverId)
  })
}
