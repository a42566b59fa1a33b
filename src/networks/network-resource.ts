import { Type } from 'typebox'
import type { Reader, Tx } from '../db/database.ts'
import { OWNERS } from '../db/device-owners.ts'
import type { Row } from '../db/schema.ts'
import type { Caller } from '../http/policy.ts'
import { newId } from '../lib/ids.ts'
import { attribute, flag, integer, nullable, text, type Values } from '../network-api/attributes.ts'
import { filterValues } from '../network-api/list-query.ts'
import { networkError } from '../network-api/network-errors.ts'
import { type ResourceCall, resource, type Wanted } from '../network-api/resource.ts'
import { readTags, replaceTags } from '../network-api/tag-store.ts'
import { deletePorts } from '../ports/delete-ports.ts'
import { settleDhcpPort } from './dhcp-port.ts'
import { LEAST_MTU_6, listSubnets, touchNetwork } from './network-store.ts'
import { networkView, type ShownNetwork, uosNetworkView } from './network-view.ts'
import { MTU } from './seed-networks.ts'

/** Of IPv4 alone. Above 1450 a tunnel between hosts would not fit. Bytes. */
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

/** So many networks' subnets are looked up one by one; of more, all are read. */
const FEW = 100

/** What only those who run the cloud decide. */
const FOR_ADMINS = ['shared', 'router:external', 'is_default', 'provider:network_type'] as const
type ForAdmins = (typeof FOR_ADMINS)[number]

/** A typo of the UOS document. */
const ALIASES = { admin_stat_up: 'admin_state_up' }
/** What a network keeps as it was made. */
const FIXED = ['provider:unmanaged_network', 'provider:network_type', 'availability_zone_hints', 'dns_domain']

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
        // Nobody serves names here; clients send an empty one for none.
        dns_domain: nullable(attribute(Type.Literal(''))),
      },
      aliases: ALIASES,
      readOnly: ['id', 'status', 'subnets'],
    },
    isBulk: true,
    quota: 'network',
    async run(call, tx, wish, projectId) {
      assertMayChoose(call, wish, {})
      await assertZones(tx, wish.availability_zone_hints ?? [])
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
  update: {
    shape: {
      singular: 'network',
      attributes: common,
      aliases: ALIASES,
      readOnly: ['id', 'status', 'subnets', 'tenant_id', 'project_id', ...FIXED],
    },
    async run(call, tx, { id }, change) {
      const before = await touchNetwork(tx, id, call.now)
      assertMayChoose(call, change, {
        shared: before.isShared === 1,
        'router:external': before.isExternal === 1,
        is_default: before.isDefault === 1,
      })
      const values = readChange(change)
      await assertMtuFits(tx, id, values)
      await assertMayUnshare(tx, before, values)
      await assertMayTurn(tx, before, values)
      if (Object.keys(values).length > 0) {
        await tx.updateTable('networks').set(values).where('id', '=', id).execute()
      }
      await settleDhcpPort(call.cloud, tx, { ...before, ...values }, call.now)
      call.cloud.networkChanges.note(tx, { kind: 'network', id })
    },
  },
  async remove({ cloud, now }, tx, { id }) {
    await touchNetwork(tx, id, now)
    const ports = await tx.selectFrom('ports').select(['id', 'deviceOwner']).where('networkId', '=', id).execute()
    if (ports.some(({ deviceOwner }) => deviceOwner !== OWNERS.dhcp)) {
      throw networkError(
        'NetworkInUse',
        `Unable to complete operation on network ${id}. There are one or more ports still in use on the network.`,
      )
    }
    await deletePorts(
      cloud,
      tx,
      ports.map((port) => port.id),
    )
    await cloud.networkChanges.noteLeaving(tx, { kind: 'network', id })
    for (const subnet of await listSubnets(tx, id)) await replaceTags(tx, subnet.id, [])
    await tx.deleteFrom('subnets').where('networkId', '=', id).execute()
    await tx.deleteFrom('networks').where('id', '=', id).execute()
  },
})

type Change = Values<typeof common>

/** The columns that a change sets. */
function readChange(change: Change): Partial<Row<'networks'>> {
  const flagOf = (
    value: boolean | undefined,
    column: 'isUp' | 'isShared' | 'isExternal' | 'isDefault' | 'hasPortSecurity',
  ) => (value === undefined ? {} : { [column]: value ? 1 : 0 })
  return {
    ...(change.name === undefined ? {} : { name: change.name }),
    ...(change.description === undefined ? {} : { description: change.description }),
    ...(change.mtu === undefined ? {} : { mtu: change.mtu }),
    ...flagOf(change.admin_state_up, 'isUp'),
    ...flagOf(change.shared, 'isShared'),
    ...flagOf(change['router:external'], 'isExternal'),
    ...flagOf(change.is_default, 'isDefault'),
    ...flagOf(change.port_security_enabled, 'hasPortSecurity'),
  }
}

/** @throws ApiError AvailabilityZoneNotFound. */
async function assertZones(tx: Tx, hints: readonly string[]): Promise<void> {
  if (hints.length === 0) return
  const zones = await tx.selectFrom('hosts').select('availabilityZone').distinct().execute()
  const unknown = hints.find((hint) => !zones.some(({ availabilityZone }) => availabilityZone === hint))
  if (unknown === undefined) return
  throw networkError('AvailabilityZoneNotFound', `AvailabilityZone ${unknown} could not be found.`)
}

/** @throws ApiError InvalidInput when a subnet of IPv6 could not do with so small packets. */
async function assertMtuFits(tx: Tx, id: string, { mtu }: Partial<Row<'networks'>>): Promise<void> {
  if (mtu === undefined || mtu >= LEAST_MTU_6) return
  const six = (await listSubnets(tx, id)).find(({ ipVersion }) => ipVersion === 6)
  if (six) throw networkError('InvalidInput', `Subnet ${six.id} is of IPv6, which needs an mtu of ${LEAST_MTU_6}.`)
}

/** @throws ApiError InvalidSharedSetting when others use what is to be the owner's alone. */
async function assertMayUnshare(
  tx: Tx,
  before: Row<'networks'>,
  { isShared }: Partial<Row<'networks'>>,
): Promise<void> {
  if (isShared !== 0 || before.isShared === 0) return
  const foreign = await tx
    .selectFrom('ports')
    .select('id')
    .where('networkId', '=', before.id)
    // Ports without a project are the cloud's own.
    .where('projectId', 'not in', [before.projectId, ''])
    .where('deviceOwner', '!=', OWNERS.dhcp)
    .executeTakeFirst()
  if (!foreign) return
  const message = `Unable to reconfigure sharing settings for network ${before.id}. Multiple tenants are using it.`
  throw networkError('InvalidSharedSetting', message)
}

/** @throws ApiError ExternalNetworkInUse, NetworkInUse when what is plugged in would end up on the wrong side. */
async function assertMayTurn(tx: Tx, before: Row<'networks'>, { isExternal }: Partial<Row<'networks'>>): Promise<void> {
  if (isExternal === undefined || isExternal === before.isExternal) return
  const user = await tx
    .selectFrom('ports')
    .select('id')
    .where('networkId', '=', before.id)
    .where('deviceOwner', '!=', OWNERS.dhcp)
    .executeTakeFirst()
  if (!user) return
  throw isExternal === 0
    ? networkError('ExternalNetworkInUse', `External network ${before.id} is in use by port ${user.id}.`)
    : networkError('NetworkInUse', `Network ${before.id} is in use by port ${user.id}; it cannot become external.`)
}

/**
 * Some attributes are the cloud's to give, or to take back.
 * @param before what they are; all false for a new network.
 * @throws ApiError PolicyNotAuthorized.
 */
function assertMayChoose({ caller }: ResourceCall, wish: object, before: Partial<Record<ForAdmins, boolean>>): void {
  const wished = wish as Partial<Record<ForAdmins, unknown>>
  const chosen = FOR_ADMINS.find((name) => wished[name] !== undefined && wished[name] !== (before[name] ?? false))
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
  const [zones, tags, subnets] = await Promise.all([
    // Whatever host a card is on, its network is there, too.
    read.selectFrom('hosts').select('availabilityZone').distinct().orderBy('availabilityZone').execute(),
    readTags(read, networkIds),
    networkIds.length === 0
      ? []
      : read
          .selectFrom('subnets')
          .select(['id', 'networkId'])
          .$if(networkIds.length <= FEW, (all) => all.where('networkId', 'in', networkIds))
          .orderBy('createdAt')
          .orderBy('id')
          .execute(),
  ])
  const subnetsOf = Map.groupBy(subnets, ({ networkId }) => networkId)
  return rows.map((row) => ({
    ...row,
    subnetIds: (subnetsOf.get(row.id) ?? []).map(({ id }) => id),
    tags: tags.get(row.id) ?? [],
    availabilityZones: zones.map(({ availabilityZone }) => availabilityZone),
  }))
}
