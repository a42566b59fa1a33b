import { randomUUID } from 'node:crypto'
import { parseNetwork } from '../../src/lib/ip.ts'
import { usualGateway, usualPools } from '../../src/networks/subnet-ranges.ts'
import { insertPort } from '../../src/ports/port-store.ts'
import type { TestCloud } from './test-cloud.ts'

/** A network with one IPv4 subnet that gives out all of `cidr` but its gateway, the first address. */
export async function addNetwork(
  cloud: TestCloud,
  { projectId, cidr, name = 'private' }: { projectId: string; cidr: string; name?: string },
): Promise<string> {
  const gatewayIp = usualGateway(parseNetwork(cidr))
  const [id, createdAt] = [randomUUID(), cloud.clock.now()]
  await cloud.cloud.db.transaction(async (tx) => {
    await tx
      .insertInto('networks')
      .values({ id, projectId, name, isShared: 0, isExternal: 0, isUp: 1, mtu: 1450, createdAt, updatedAt: createdAt })
      .execute()
    await tx
      .insertInto('subnets')
      .values({
        id: randomUUID(),
        networkId: id,
        projectId,
        name: `${name}_subnet`,
        cidr,
        ipVersion: 4,
        gatewayIp,
        hasDhcp: 0,
        dnsNameservers: '[]',
        allocationPools: JSON.stringify(usualPools(parseNetwork(cidr), gatewayIp)),
        hostRoutes: '[]',
        createdAt,
        updatedAt: createdAt,
      })
      .execute()
  })
  return id
}

/** A port that a user made and nothing uses yet, and its address. */
export async function addPort(
  cloud: TestCloud,
  { projectId, networkId }: { projectId: string; networkId: string },
): Promise<{ id: string; ipAddress: string }> {
  const { db } = cloud.cloud
  const now = cloud.clock.now()
  const id = await db.transaction((tx) =>
    insertPort(tx, { projectId, networkId, deviceId: '', deviceOwner: '', securityGroupIds: [], now }),
  )
  const { ipAddress } = await db.read
    .selectFrom('portAddresses')
    .select('ipAddress')
    .where('portId', '=', id)
    .executeTakeFirstOrThrow()
  return { id, ipAddress }
}

/**
 * An address that nobody has, of the shared network unless another prefix is given: ports get theirs by lot, so one that
 * was thought up may be taken.
 */
export async function freeAddress(cloud: TestCloud, prefix = '172.31.251'): Promise<string> {
  const rows = await cloud.cloud.db.read.selectFrom('portAddresses').select('ipAddress').execute()
  const taken = new Set(rows.map(({ ipAddress }) => ipAddress))
  const free = Array.from({ length: 250 }, (_, n) => `${prefix}.${n + 2}`).find((address) => !taken.has(address))
  if (free === undefined) throw new Error('All addresses that were looked at are taken.')
  return free
}
