import type { Reader } from '../db/database.ts'
import type { Caller } from '../http/policy.ts'
import { filterValues, type Query } from '../network-api/list-query.ts'
import type { Wanted } from '../network-api/resource.ts'
import { readTags } from '../network-api/tag-store.ts'
import type { ShownPort } from './port-view.ts'

/** How many ids one question may name. */
const IDS_AT_ONCE = 1_000

/** Filters that are columns. */
const COLUMNS = {
  id: 'ports.id',
  name: 'ports.name',
  network_id: 'ports.networkId',
  device_id: 'ports.deviceId',
  device_owner: 'ports.deviceOwner',
  mac_address: 'ports.macAddress',
} as const

/** The project's ports, oldest first; for an admin everybody's, also the cloud's own. */
export async function listPorts(read: Reader, caller: Caller, { ids, query = {} }: Wanted): Promise<ShownPort[]> {
  const filters = ids ? { id: [...ids] } : query
  const wished = readAddressFilter(query)
  let some = read
    .selectFrom('ports')
    .leftJoin('servers', (join) => join.onRef('servers.id', '=', 'ports.deviceId').on('servers.deletedAt', 'is', null))
    .selectAll('ports')
    .select('servers.hostName')
    .$if(!caller.isAdmin, (all) => all.where('ports.projectId', '=', caller.projectId))
  for (const [name, column] of Object.entries(COLUMNS)) {
    const values = filterValues(filters, name)
    if (values) some = some.where(column, 'in', values)
  }
  if (wished) {
    some = some.where('ports.id', 'in', (from) =>
      from
        .selectFrom('portAddresses')
        .select('portId')
        .where((where) => where.or(wished.map(({ column, value }) => where(column, '=', value)))),
    )
  }
  const rows = await some.orderBy('ports.createdAt').orderBy('ports.id').execute()
  const portIds = rows.map(({ id }) => id)
  const tags = await readTags(read, portIds)
  const addresses = new Map<string, ShownPort['addresses']>()
  const groups = new Map<string, string[]>()
  for (let from = 0; from < portIds.length; from += IDS_AT_ONCE) {
    const some = portIds.slice(from, from + IDS_AT_ONCE)
    const [held, joined] = await Promise.all([
      read.selectFrom('portAddresses').selectAll().where('portId', 'in', some).execute(),
      read.selectFrom('portSecurityGroups').selectAll().where('portId', 'in', some).execute(),
    ])
    for (const { portId, ...address } of held) addresses.set(portId, [...(addresses.get(portId) ?? []), address])
    for (const one of joined) groups.set(one.portId, [...(groups.get(one.portId) ?? []), one.securityGroupId])
  }
  return rows.map((row) => ({
    ...row,
    addresses: (addresses.get(row.id) ?? []).sort(byVersion),
    securityGroupIds: (groups.get(row.id) ?? []).sort(),
    tags: tags.get(row.id) ?? [],
  }))
}

/** `fixed_ips=ip_address=…` and `fixed_ips=subnet_id=…`; undefined when it is filtered by anything else, too. */
function readAddressFilter(query: Query) {
  const values = filterValues(query, 'fixed_ips')
  const wished = values?.flatMap((value) => {
    const [, name, wanted = ''] = /^(ip_address|subnet_id)=(.*)$/s.exec(value) ?? []
    if (name === undefined) return []
    return [{ column: name === 'ip_address' ? ('ipAddress' as const) : ('subnetId' as const), value: wanted }]
  })
  return wished && wished.length === values?.length ? wished : undefined
}

function byVersion(a: { ipAddress: string }, b: { ipAddress: string }): number {
  const [left, right] = [a, b].map(({ ipAddress }) => ipAddress.includes(':'))
  if (left !== right) return left ? 1 : -1
  return a.ipAddress < b.ipAddress ? -1 : 1
}
