import { Type } from 'typebox'
import type { Reader } from '../db/database.ts'
import type { Caller } from '../http/policy.ts'
import { newId } from '../lib/ids.ts'
import { attribute, flag, integer, nullable, text } from '../network-api/attributes.ts'
import { filterValues } from '../network-api/list-query.ts'
import { networkError } from '../network-api/network-errors.ts'
import { type ResourceCall, resource, type Wanted } from '../network-api/resource.ts'
import { readTags } from '../network-api/tag-store.ts'
import { networkView, type ShownNetwork, uosNetworkView } from './network-view.ts'
import { MTU } from './seed-networks.ts'

/** IPv6 needs 1280; IPv4 alone would do with 68. Above 1450 a tunnel between hosts would not fit. Bytes. */
const LEAST_MTU = 68

const common = {
  name: text(),
  description: text(),
  admin_state_up: flag(),
  shared: flag(),
  'router:external': flag(),
  is_default: flag(),
  port_security_enabled: flag(),
  mtu: integer(LEAST_MTU, MTU),
}

/** What only those who run the cloud decide. */
const FOR_ADMINS = ['shared', 'router:external', 'is_default', 'provider:network_type'] as const

/** N01 to N07, and delete. */
export const networkResource = resource({
  singular: 'network',
  plural: 'networks',
  title: 'Network',
  notFound: 'NetworkNotFound',
  read: 'network:read',
  write: 'network:write',
  list: listNetworks,
  neutronView: networkView,
  uosView: uosNetworkView,
  create: {
    shape: {
      singular: 'network',
      attributes: {
        ...common,
        'provider:unmanaged_network': flag(),
        'provider:network_type': attribute(Type.Literal('local')),
        availability_zone_hints: attribute(Type.Array(Type.String(), { maxItems: 10 })),
        dns_domain: nullable(text()),
      },
      aliases: { admin_stat_up: 'admin_state_up' },
      readOnly: ['id', 'status', 'subnets'],
    },
    isBulk: true,
    quota: 'network',
    async run(call, tx, wish, projectId) {
      assertMayChoose(call, wish)
      const id = newId()
      await tx
        .insertInto('networks')
        .values({
          id,
          projectId,
          name: wish.name ?? '',
          description: wish.description ?? '',
          isUp: wish.admin_state_up === false ? 0 : 1,
          isShared: wish.shared ? 1 : 0,
          isExternal: wish['router:external'] ? 1 : 0,
          isDefault: wish.is_default ? 1 : 0,
          isUnmanaged: wish['provider:unmanaged_network'] ? 1 : 0,
          hasPortSecurity: wish.port_security_enabled === false ? 0 : 1,
          mtu: wish.mtu ?? MTU,
          availabilityZoneHints: JSON.stringify(wish.availability_zone_hints ?? []),
          createdAt: call.now,
          updatedAt: call.now,
        })
        .execute()
      return id
    },
  },
})

/**
 * Some attributes are the cloud's to give.
 * @throws ApiError PolicyNotAuthorized.
 */
function assertMayChoose({ caller }: ResourceCall, wish: object): void {
  const chosen = FOR_ADMINS.find((name) => (wish as Record<string, unknown>)[name])
  if (chosen && !caller.isAdmin) throw networkError('PolicyNotAuthorized', `Only an admin sets ${chosen}.`)
}

/** The project's own networks, those shared with all, the external ones; for an admin everybody's. */
async function listNetworks(read: Reader, caller: Caller, { ids, query = {} }: Wanted): Promise<ShownNetwork[]> {
  const wanted = ids ?? filterValues(query, 'id')
  const names = filterValues(query, 'name')
  const rows = await read
    .selectFrom('networks')
    .selectAll()
    .$if(!caller.isAdmin, (all) =>
      all.where((where) =>
        where.or([where('projectId', '=', caller.projectId), where('isShared', '=', 1), where('isExternal', '=', 1)]),
      ),
    )
    .$if(wanted !== undefined, (all) => all.where('id', 'in', wanted ?? []))
    .$if(names !== undefined, (all) => all.where('name', 'in', names ?? []))
    .orderBy('createdAt')
    .orderBy('id')
    .execute()
  const networkIds = rows.map(({ id }) => id)
  const [tags, subnets] = await Promise.all([
    readTags(read, networkIds),
    networkIds.length === 0
      ? []
      : read.selectFrom('subnets').select(['id', 'networkId']).orderBy('createdAt').orderBy('id').execute(),
  ])
  const subnetsOf = Map.groupBy(subnets, ({ networkId }) => networkId)
  return rows.map((row) => ({
    ...row,
    subnetIds: (subnetsOf.get(row.id) ?? []).map(({ id }) => id),
    tags: tags.get(row.id) ?? [],
    availabilityZone: 'nova',
  }))
}
