import type { Reader, Tx } from '../db/database.ts'
import { OWNERS } from '../db/device-owners.ts'
import { networkError } from './network-errors.ts'

/** What a project may have unless an admin said otherwise; -1: no limit. Source: shared/spec/neighbours.md §4. */
export const NETWORK_QUOTAS: Readonly<Record<string, number>> = {
  network: 100,
  subnet: 100,
  subnetpool: -1,
  port: 500,
  router: 10,
  floatingip: 50,
  security_group: 10,
  security_group_rule: 100,
  rbac_policy: 10,
}

/** Tables of things that have an owner of their own, by the resource they are counted as. */
const TABLES = {
  network: 'networks',
  subnet: 'subnets',
  port: 'ports',
  router: 'routers',
  floatingip: 'floatingIps',
  security_group: 'securityGroups',
} as const
/** Ports that the service makes for itself: nobody's wish. */
const SERVICE_PORTS = [OWNERS.dhcp, OWNERS.floatingIp, OWNERS.routerGateway]

/** What a project may have, resource by resource. */
export async function readNetworkQuotas(read: Reader, projectId: string): Promise<Record<string, number>> {
  const rows = await read.selectFrom('networkQuotas').selectAll().where('projectId', '=', projectId).execute()
  return { ...NETWORK_QUOTAS, ...Object.fromEntries(rows.map(({ resource, most }) => [resource, most])) }
}

/** What a project has of a resource; none of what there is no such thing as here. */
export async function countNetworkUse(read: Reader, projectId: string, resource: string): Promise<number> {
  if (resource === 'security_group_rule') {
    const { count } = await read
      .selectFrom('securityGroupRules')
      .innerJoin('securityGroups', 'securityGroups.id', 'securityGroupRules.securityGroupId')
      .select(({ fn }) => fn.countAll<number>().as('count'))
      .where('securityGroups.projectId', '=', projectId)
      .executeTakeFirstOrThrow()
    return Number(count)
  }
  if (!Object.hasOwn(TABLES, resource)) return 0
  const table = TABLES[resource as keyof typeof TABLES]
  const { count } = await read
    .selectFrom(table)
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .where('projectId', '=', projectId)
    .$if(table === 'ports', (query) => query.where('deviceOwner' as never, 'not in', SERVICE_PORTS as never))
    .executeTakeFirstOrThrow()
  return Number(count)
}

/**
 * Checks that the project may have one more, in the transaction that makes it.
 * @throws ApiError OverQuota.
 */
export async function assertNetworkQuota(tx: Tx, projectId: string, resource: string, more = 1): Promise<void> {
  const most = (await readNetworkQuotas(tx, projectId))[resource] ?? -1
  if (most < 0) return
  // Takes turns on the project: of two at once, both would see room for one.
  await tx
    .updateTable('projects')
    .set((project) => ({ isEnabled: project.ref('isEnabled') }))
    .where('id', '=', projectId)
    .execute()
  if ((await countNetworkUse(tx, projectId, resource)) + more > most) {
    throw networkError('OverQuota', `Quota exceeded for resources: ['${resource}'].`)
  }
}
