import type { Reader, Tx } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { Caller } from '../http/policy.ts'
import { integer, nullable, text } from '../network-api/attributes.ts'
import { filterValues } from '../network-api/list-query.ts'
import { networkError } from '../network-api/network-errors.ts'
import { type ResourceCall, resource, type Wanted } from '../network-api/resource.ts'
import { readTags } from '../network-api/tag-store.ts'
import {
  bindFloatingIp,
  createFloatingIp,
  deleteFloatingIp,
  noteRouters,
  unbindFloatingIp,
  updateFloatingIp,
} from './floating-ip-store.ts'
import { floatingIpView, type ShownFloatingIp, uosFloatingIpView } from './floating-ip-view.ts'

/** 10 Gbit/s: more than any edge carries. */
const MOST_KBPS = 10 * 1_024 * 1_024

/** Kbit/s. */
export const RATE_LIMIT = integer(1, MOST_KBPS)

const common = {
  port_id: nullable(text(36)),
  fixed_ip_address: nullable(text(64)),
  description: text(),
  'uos:name': text(),
  rate_limit: RATE_LIMIT,
}

/** N21, N23 to N26, list and rename. */
export const floatingIpResource = resource({
  singular: 'floatingip',
  plural: 'floatingips',
  title: 'Floating IP',
  notFound: 'FloatingIPNotFound',
  read: 'network:read',
  write: 'network:write',
  list: listFloatingIps,
  neutronView: floatingIpView,
  uosView: uosFloatingIpView,
  create: {
    shape: {
      singular: 'floatingip',
      attributes: {
        ...common,
        floating_network_id: text(36),
        floating_ip_address: nullable(text(64)),
        subnet_id: nullable(text(36)),
        dns_name: text(),
        dns_domain: text(),
        'uos:registerno': text(),
        'uos:service_provider': text(),
      },
      required: ['floating_network_id'],
      readOnly: ['id', 'status', 'router_id'],
    },
    async run(call, tx, wish, projectId) {
      const { port_id: portId, fixed_ip_address: fixedIpAddress } = wish
      if (wish.floating_ip_address && !call.caller.isAdmin) {
        throw networkError('PolicyNotAuthorized', 'Only an admin chooses floating_ip_address.')
      }
      if (fixedIpAddress && !portId) throw withoutPort()
      const id = await createFloatingIp(tx, {
        projectId,
        networkId: wish.floating_network_id ?? '',
        name: wish['uos:name'],
        description: wish.description,
        rateLimitKbps: wish.rate_limit,
        ipAddress: wish.floating_ip_address || undefined,
        subnetId: wish.subnet_id || undefined,
        registerno: wish['uos:registerno'],
        serviceProvider: wish['uos:service_provider'],
        dnsName: wish.dns_name,
        now: call.now,
      })
      if (portId) await bind(call, tx, id, portId, fixedIpAddress)
      return id
    },
  },
  update: {
    shape: {
      singular: 'floatingip',
      attributes: common,
      readOnly: ['id', 'status', 'router_id', 'floating_network_id', 'floating_ip_address', 'tenant_id', 'project_id'],
    },
    async run(call, tx, floatingIp: ShownFloatingIp, change) {
      const { id } = floatingIp
      await updateFloatingIp(
        tx,
        id,
        {
          ...(change['uos:name'] === undefined ? {} : { name: change['uos:name'] }),
          ...(change.description === undefined ? {} : { description: change.description }),
          ...(change.rate_limit === undefined ? {} : { rateLimitKbps: change.rate_limit }),
        },
        call.now,
      )
      if (change.rate_limit !== undefined) noteRouters(call.cloud, tx, [floatingIp.routerId])
      const { port_id: portId, fixed_ip_address: fixedIpAddress } = change
      if (portId === null || portId === '') {
        if (fixedIpAddress) throw withoutPort()
        await unbindFloatingIp(call.cloud, tx, floatingIp, call.now)
      } else if (portId !== undefined) {
        await bind(call, tx, id, portId, fixedIpAddress)
      } else if (fixedIpAddress) {
        if (floatingIp.portId === null) throw withoutPort()
        await bind(call, tx, id, floatingIp.portId, fixedIpAddress)
      }
    },
  },
  remove: ({ cloud }, tx, floatingIp: ShownFloatingIp) => deleteFloatingIp(cloud, tx, floatingIp),
})

async function bind(
  { cloud, now }: ResourceCall,
  tx: Tx,
  id: string,
  portId: string,
  fixedIpAddress: string | null | undefined,
): Promise<void> {
  const floatingIp = await tx.selectFrom('floatingIps').selectAll().where('id', '=', id).executeTakeFirstOrThrow()
  await bindFloatingIp(cloud, tx, floatingIp, { portId, fixedIpAddress: fixedIpAddress || undefined, now })
}

const withoutPort = () => networkError('BadRequest', 'fixed_ip_address cannot be given without a port_id.')

/** The project's floating IPs (for an admin everybody's), oldest first. */
async function listFloatingIps(read: Reader, caller: Caller, { ids, query = {} }: Wanted): Promise<ShownFloatingIp[]> {
  const wanted = ids ?? filterValues(query, 'id')
  const rows = await read
    .selectFrom('floatingIps')
    .selectAll()
    .$if(!caller.isAdmin, (all) => all.where('projectId', '=', caller.projectId))
    .$if(wanted !== undefined, (all) => all.where('id', 'in', wanted ?? []))
    .orderBy('createdAt')
    .orderBy('id')
    .execute()
  const isNarrow = rows.length <= 1_000
  const [addresses, ports, forwardings, tags] = await Promise.all([
    listAddresses(read, isNarrow ? rows : undefined),
    listBoundPorts(read, isNarrow ? rows : undefined),
    listForwardings(read, isNarrow ? rows : undefined),
    readTags(
      read,
      rows.map(({ id }) => id),
    ),
  ])
  const subnetOf = new Map(addresses.map(({ portId, subnetId }) => [portId, subnetId]))
  const portOf = new Map(ports.map((port) => [port.id, port]))
  const forwardingsOf = Map.groupBy(forwardings, ({ floatingIpId }) => floatingIpId)
  return rows.map((row) => ({
    ...row,
    port: row.portId === null ? undefined : portOf.get(row.portId),
    floatingSubnetId: subnetOf.get(row.floatingPortId) ?? null,
    portForwardings: forwardingsOf.get(row.id) ?? [],
    tags: tags.get(row.id) ?? [],
  }))
}

/** Of these floating IPs; of all when undefined, since a question can name only so many. */
type Some = Row<'floatingIps'>[] | undefined

async function listAddresses(read: Reader, some: Some) {
  const portIds = some?.map(({ floatingPortId }) => floatingPortId)
  if (portIds?.length === 0) return []
  return read
    .selectFrom('portAddresses')
    .innerJoin('floatingIps', 'floatingIps.floatingPortId', 'portAddresses.portId')
    .select(['portAddresses.portId', 'portAddresses.subnetId'])
    .$if(portIds !== undefined, (all) => all.where('portAddresses.portId', 'in', portIds ?? []))
    .execute()
}

async function listBoundPorts(read: Reader, some: Some): Promise<Row<'ports'>[]> {
  const portIds = some?.flatMap(({ portId }) => portId ?? [])
  if (portIds?.length === 0) return []
  return read
    .selectFrom('ports')
    .innerJoin('floatingIps', 'floatingIps.portId', 'ports.id')
    .selectAll('ports')
    .$if(portIds !== undefined, (all) => all.where('ports.id', 'in', portIds ?? []))
    .execute()
}

async function listForwardings(read: Reader, some: Some): Promise<Row<'portForwardings'>[]> {
  const ids = some?.map(({ id }) => id)
  if (ids?.length === 0) return []
  return read
    .selectFrom('portForwardings')
    .selectAll()
    .where('floatingIpId', 'is not', null)
    .$if(ids !== undefined, (all) => all.where('floatingIpId', 'in', ids ?? []))
    .orderBy('createdAt')
    .orderBy('id')
    .execute()
}
