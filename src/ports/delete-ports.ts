/** How ports end: whoever lets go of one unbinds its floating IPs, and tells the hosts. */
import type { Cloud } from '../cloud.ts'
import type { Tx } from '../db/database.ts'
import { releaseFloatingIpsOfPorts } from '../floating-ips/floating-ip-store.ts'
import { freed } from './port-store.ts'

type Parts = Pick<Cloud, 'networkChanges' | 'clock'>

/**
 * Deletes ports with their addresses; floating IPs that led to them lead nowhere, and forwardings to them go. Hosts
 * follow after the commit. Ids without a row are no mistake.
 */
export async function deletePorts(parts: Parts, tx: Tx, portIds: readonly string[]): Promise<void> {
  if (portIds.length === 0) return
  for (const id of portIds) await parts.networkChanges.noteLeaving(tx, { kind: 'port', id })
  await dropPorts(parts, tx, portIds)
}

/**
 * Ends what a server had: ports made for it go, with their addresses; ports that a user made are free again. Its host
 * has let go of them already; only others must follow.
 */
export async function releasePorts(parts: Parts, tx: Tx, serverId: string): Promise<void> {
  const ports = await tx
    .selectFrom('ports')
    .select(['id', 'isOwnedByServer'])
    .where('deviceId', '=', serverId)
    .execute()
  const owned = ports.filter(({ isOwnedByServer }) => isOwnedByServer === 1).map(({ id }) => id)
  await parts.networkChanges.noteNeighbours(tx, owned)
  await dropPorts(parts, tx, owned)
  await tx.updateTable('ports').set(freed(parts.clock.now())).where('deviceId', '=', serverId).execute()
}

async function dropPorts(parts: Parts, tx: Tx, portIds: readonly string[]): Promise<void> {
  if (portIds.length === 0) return
  await releaseFloatingIpsOfPorts(parts, tx, portIds, parts.clock.now())
  await tx.deleteFrom('ports').where('id', 'in', portIds).execute()
}
