import type { Tx } from '../db/database.ts'
import { OWNERS } from '../db/device-owners.ts'
import { parseNetwork } from '../lib/ip.ts'
import { insertPort } from '../ports/port-store.ts'
import { usualGateway, usualPools } from './subnet-ranges.ts'

/** The external network of a fresh cloud. */
export const BGP_NETWORK_ID = '5b0f9d5c-7a38-4d1e-9f0a-3d6f1f6a2b10'
/** The network all projects share, and its subnet; the ids are those of the API document's examples. */
export const SHARED_NETWORK_ID = 'ba05e057-1eb8-4cb2-af58-9b99a72df5ed'
export const SHARED_SUBNET_ID = '0383c257-d730-4bbc-bd20-c7482bc925e8'
const SHARED_CIDR = '172.31.248.0/22'
/** Leaves room for a tunnel between hosts. Bytes. */
export const MTU = 1450

/** The networks of a fresh cloud: `BGP` (external) and `shared`, with a DHCP service. Does nothing when they exist. */
export async function seedNetworks(tx: Tx, projectId: string, now: number): Promise<void> {
  const existing = await tx.selectFrom('networks').select('id').where('id', '=', SHARED_NETWORK_ID).executeTakeFirst()
  if (existing) return
  const network = { projectId, isUp: 1, mtu: MTU, createdAt: now, updatedAt: now } as const
  await tx
    .insertInto('networks')
    .values([
      { id: BGP_NETWORK_ID, name: 'BGP', isShared: 0, isExternal: 1, ...network },
      { id: SHARED_NETWORK_ID, name: 'shared', isShared: 1, isExternal: 0, ...network },
    ])
    .execute()
  const gatewayIp = usualGateway(parseNetwork(SHARED_CIDR))
  const pools = usualPools(parseNetwork(SHARED_CIDR), gatewayIp)
  await tx
    .insertInto('subnets')
    .values({
      id: SHARED_SUBNET_ID,
      networkId: SHARED_NETWORK_ID,
      projectId,
      name: 'shared_subnet',
      cidr: SHARED_CIDR,
      ipVersion: 4,
      gatewayIp,
      hasDhcp: 1,
      dnsNameservers: '[]',
      allocationPools: JSON.stringify(pools),
      hostRoutes: '[]',
      createdAt: now,
      updatedAt: now,
    })
    .execute()
  await insertPort(tx, {
    projectId,
    networkId: SHARED_NETWORK_ID,
    deviceId: `dhcp-${SHARED_NETWORK_ID}`,
    deviceOwner: OWNERS.dhcp,
    fixedIps: [{ ipAddress: pools[0]?.start }],
    securityGroupIds: [],
    now,
  })
}
