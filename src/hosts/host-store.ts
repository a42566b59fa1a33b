import { sql } from 'kysely'
import type { Database, Reader, Tx } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { HostDriver } from '../host/host-driver.ts'

/** What a server takes of its host. */
export interface Claim {
  vcpus: number
  ramMib: number
  diskGib: number
}

/**
 * Writes down what a host is, or that it is still there.
 * @returns the boot id it had before: undefined for a new host.
 */
export async function registerHost(
  db: Database,
  host: HostDriver,
  availabilityZone: string,
  now: number,
): Promise<string | undefined> {
  const { vcpus, ramMib, diskGib, bootId } = await host.readFacts()
  return db.transaction(async (tx) => {
    const known = await tx.selectFrom('hosts').select('bootId').where('name', '=', host.hostName).executeTakeFirst()
    const facts = { availabilityZone, vcpus, ramMib, diskGib, bootId, seenAt: now }
    if (known) {
      await tx.updateTable('hosts').set(facts).where('name', '=', host.hostName).execute()
    } else {
      const nothing = { claimedVcpus: 0, claimedRamMib: 0, claimedDiskGib: 0 }
      await tx
        .insertInto('hosts')
        .values({ name: host.hostName, isEnabled: 1, ...facts, ...nothing })
        .execute()
    }
    return known?.bootId
  })
}

/** All hosts, by name. */
export async function listHosts(read: Reader): Promise<Row<'hosts'>[]> {
  return read.selectFrom('hosts').selectAll().orderBy('name').execute()
}

/**
 * Claims room on a host for a server; claiming again is nothing.
 * @returns false when the room is no longer there: somebody else was quicker.
 */
export async function claimRoom(
  tx: Tx,
  serverId: string,
  hostName: string,
  claim: Claim,
  limits: Claim,
): Promise<boolean> {
  const existing = await tx.selectFrom('claims').select('hostName').where('serverId', '=', serverId).executeTakeFirst()
  if (existing) return existing.hostName === hostName
  // One statement checks and takes, so two claims at once cannot both find the last room.
  const { numUpdatedRows } = await tx
    .updateTable('hosts')
    .set({
      claimedVcpus: sql`"claimedVcpus" + ${claim.vcpus}`,
      claimedRamMib: sql`"claimedRamMib" + ${claim.ramMib}`,
      claimedDiskGib: sql`"claimedDiskGib" + ${claim.diskGib}`,
    })
    .where('name', '=', hostName)
    .where('claimedVcpus', '<=', limits.vcpus - claim.vcpus)
    .where('claimedRamMib', '<=', limits.ramMib - claim.ramMib)
    .where('claimedDiskGib', '<=', limits.diskGib - claim.diskGib)
    .executeTakeFirstOrThrow()
  if (numUpdatedRows !== 1n) return false
  await tx
    .insertInto('claims')
    .values({ serverId, hostName, ...claim })
    .execute()
  return true
}

/** Gives back what a server claimed; does nothing when it claimed nothing. */
export async function releaseRoom(tx: Tx, serverId: string): Promise<void> {
  const claim = await tx.selectFrom('claims').selectAll().where('serverId', '=', serverId).executeTakeFirst()
  if (!claim) return
  await tx.deleteFrom('claims').where('serverId', '=', serverId).execute()
  await tx
    .updateTable('hosts')
    .set({
      claimedVcpus: sql`"claimedVcpus" - ${claim.vcpus}`,
      claimedRamMib: sql`"claimedRamMib" - ${claim.ramMib}`,
      claimedDiskGib: sql`"claimedDiskGib" - ${claim.diskGib}`,
    })
    .where('name', '=', claim.hostName)
    .execute()
}
