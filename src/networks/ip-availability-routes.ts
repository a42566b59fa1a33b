import { Type } from 'typebox'
import type { Cloud } from '../cloud.ts'
import type { Reader } from '../db/database.ts'
import type { App } from '../http/app.ts'
import { parseAddress } from '../lib/ip.ts'
import { type Query, type Shown, selectPage, trim } from '../network-api/list-query.ts'
import { networkError } from '../network-api/network-errors.ts'
import { networkRoute } from '../network-api/resource-routes.ts'
import type { Pool } from './subnet-ranges.ts'

/** How many addresses of each network are used: for admins. Source: shared/spec/neighbours.md §4. */
export function ipAvailabilityRoutes(app: App, cloud: Cloud): void {
  const path = '/network-ip-availabilities'
  networkRoute(app, cloud, {
    method: 'GET',
    path,
    operation: 'network:admin',
    async handle(_, request) {
      const query = request.query as Query
      const { items } = selectPage(await listAvailability(cloud.db.read), query)
      return { network_ip_availabilities: items.map(({ id: _, ...item }) => trim(item as unknown as Shown, query)) }
    },
  })
  networkRoute(app, cloud, {
    method: 'GET',
    path: `${path}/:id`,
    operation: 'network:admin',
    params: Type.Object({ id: Type.String() }),
    async handle(_, request) {
      const networkId = (request.params as { id: string }).id
      const found = (await listAvailability(cloud.db.read)).find(({ id }) => id === networkId)
      if (!found) throw networkError('NetworkNotFound', `Network ${networkId} could not be found.`)
      const { id, ...availability } = found
      return { network_ip_availability: availability }
    },
  })
}

async function listAvailability(read: Reader): Promise<Shown[]> {
  const [networks, subnets, counts] = await Promise.all([
    read.selectFrom('networks').select(['id', 'name', 'projectId']).orderBy('createdAt').orderBy('id').execute(),
    read.selectFrom('subnets').selectAll().orderBy('createdAt').orderBy('id').execute(),
    read
      .selectFrom('portAddresses')
      .select(({ fn }) => ['subnetId', fn.countAll<number>().as('used')])
      .groupBy('subnetId')
      .execute(),
  ])
  const usedOf = new Map(counts.map(({ subnetId, used }) => [subnetId, Number(used)]))
  const subnetsOf = Map.groupBy(subnets, ({ networkId }) => networkId)
  return networks.map(({ id, name, projectId }) => {
    const parts = (subnetsOf.get(id) ?? []).map((subnet) => ({
      subnet_id: subnet.id,
      subnet_name: subnet.name,
      cidr: subnet.cidr,
      ip_version: subnet.ipVersion,
      total_ips: countPools(subnet.allocationPools),
      used_ips: usedOf.get(subnet.id) ?? 0,
    }))
    return {
      id,
      network_id: id,
      network_name: name,
      tenant_id: projectId,
      project_id: projectId,
      total_ips: parts.reduce((sum, part) => sum + part.total_ips, 0),
      used_ips: parts.reduce((sum, part) => sum + part.used_ips, 0),
      subnet_ip_availability: parts,
    }
  })
}

/** How many addresses pools have; of an IPv6 subnet as near as a number of JSON comes. */
const countPools = (allocationPools: string): number =>
  (JSON.parse(allocationPools) as Pool[]).reduce(
    (sum, { start, end }) => sum + Number(parseAddress(end).value - parseAddress(start).value + 1n),
    0,
  )
