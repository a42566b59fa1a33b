import type { Reader, Tx } from '../db/database.ts'
import { OWNERS } from '../db/device-owners.ts'
import type { Row } from '../db/schema.ts'
import type { Caller } from '../http/policy.ts'
import { newId } from '../lib/ids.ts'
import { overlaps, parseNetwork } from '../lib/ip.ts'
import { filterValues } from '../network-api/list-query.ts'
import { networkError } from '../network-api/network-errors.ts'
import { type ResourceCall, resource, type Wanted } from '../network-api/resource.ts'
import { readTags } from '../network-api/tag-store.ts'
import { giveAutomatic, isAutomatic } from '../ports/port-addresses.ts'
import { touched } from '../ports/port-store.ts'
import { settleDhcpPort } from './dhcp-port.ts'
import { findVisibleNetwork, LEAST_MTU_6, listSubnets, touchNetwork } from './network-store.ts'
import { SUBNET_ALIASES, SUBNET_CHANGES, SUBNET_FIRST } from './subnet-attributes.ts'
import { readSubnet, readSubnetChange } from './subnet-values.ts'
import { type ShownSubnet, subnetView, uosSubnetView } from './subnet-view.ts'

/** N08 to N13. */
export const subnetResource = resource({
  singular: 'subnet',
  plural: 'subnets',
  title: 'Subnet',
  notFound: 'SubnetNotFound',
  read: 'network:read',
  write: 'network:write',
  list: listVisible,
  neutronView: subnetView,
  uosView: uosSubnetView,
  create: {
    shape: {
      singular: 'subnet',
      attributes: { ...SUBNET_FIRST, ...SUBNET_CHANGES },
      required: ['network_id', 'ip_version'],
      aliases: SUBNET_ALIASES,
      readOnly: ['id', 'shared'],
    },
    isBulk: true,
    quota: 'subnet',
    async run(call, tx, wish, projectId) {
      const network = await findNetworkToExtend(tx, call, wish.network_id ?? '')
      const values = readSubnet(wish)
      if (values.ipVersion === 6 && network.mtu < LEAST_MTU_6) {
        const message = `IPv6 needs an mtu of ${LEAST_MTU_6}; network ${network.id} has ${network.mtu}.`
        throw networkError('InvalidInput', message)
      }
      // Takes turns on the network, so that two subnets that overlap cannot both see that there is none.
      await touchNetwork(tx, network.id, call.now)
      await assertNoOverlap(tx, network, values.cidr)
      const id = newId()
      const times = { createdAt: call.now, updatedAt: call.now }
      await tx
        .insertInto('subnets')
        .values({ id, networkId: network.id, projectId, ...values, ...times })
        .execute()
      await settleDhcpPort(call.cloud, tx, network, call.now)
      await giveAutomaticAddresses(call, tx, network, id)
      call.cloud.networkChanges.note(tx, { kind: 'network', id: network.id })
      return id
    },
  },
  update: {
    shape: {
      singular: 'subnet',
      attributes: SUBNET_CHANGES,
      aliases: SUBNET_ALIASES,
      readOnly: [...Object.keys(SUBNET_FIRST), 'id', 'tenant_id', 'project_id', 'shared'],
    },
    async run(call, tx, subnet, change) {
      const network = await touchNetwork(tx, subnet.networkId, call.now)
      const values = readSubnetChange(subnet, change)
      if (values.gatewayIp !== undefined) await assertGatewayFree(tx, subnet, values.gatewayIp)
      await tx
        .updateTable('subnets')
        .set({ ...values, ...touched(call.now) })
        .where('id', '=', subnet.id)
        .execute()
      await settleDhcpPort(call.cloud, tx, network, call.now)
      call.cloud.networkChanges.note(tx, { kind: 'network', id: network.id })
    },
  },
  async remove(call, tx, subnet) {
    const network = await touchNetwork(tx, subnet.networkId, call.now)
    await releaseAddresses(call, tx, subnet)
    await tx.updateTable('subnets').set({ hasDhcp: 0 }).where('id', '=', subnet.id).execute()
    await settleDhcpPort(call.cloud, tx, network, call.now)
    await call.cloud.networkChanges.noteLeaving(tx, { kind: 'network', id: network.id })
    await tx.deleteFrom('subnets').where('id', '=', subnet.id).execute()
  },
})

/**
 * A network the caller may put subnets on: its own, or any for an admin.
 * @throws ApiError NetworkNotFound for what the caller cannot see, PolicyNotAuthorized for what is only shared.
 */
async function findNetworkToExtend(tx: Tx, { caller }: ResourceCall, id: string): Promise<Row<'networks'>> {
  const network = await findVisibleNetwork(tx, caller, id)
  if (!network) throw networkError('NetworkNotFound', `Network ${id} could not be found.`)
  const isOwner = network.projectId === caller.projectId && !network.isExternal
  if (isOwner || caller.isAdmin) return network
  throw networkError('PolicyNotAuthorized', `Only the owner of network ${id} makes subnets on it.`)
}

async function assertNoOverlap(tx: Tx, network: Row<'networks'>, cidr: string): Promise<void> {
  const others = await listSubnets(tx, network.id)
  const other = others.find((one) => overlaps(parseNetwork(one.cidr), parseNetwork(cidr)))
  if (!other) return
  throw networkError(
    'InvalidInput',
    `Requested subnet with cidr: ${cidr} for network: ${network.id} overlaps with subnet ${other.id} (${other.cidr}).`,
  )
}

/** Cards that are there make themselves an address on a new subnet of the kind where they do. */
async function giveAutomaticAddresses(
  { cloud, now }: ResourceCall,
  tx: Tx,
  network: Row<'networks'>,
  subnetId: string,
): Promise<void> {
  const subnet = (await listSubnets(tx, network.id)).find(({ id }) => id === subnetId)
  if (!subnet || !isAutomatic(subnet)) return
  const ports = await tx
    .selectFrom('ports')
    .selectAll()
    .where('networkId', '=', network.id)
    .where('deviceOwner', 'not like', 'network:%')
    .execute()
  for (const { id: portId, macAddress, deviceOwner, projectId } of ports) {
    await giveAutomatic(tx, { portId, macAddress, deviceOwner, projectId, network }, subnet)
    await tx.updateTable('ports').set(touched(now)).where('id', '=', portId).execute()
    cloud.networkChanges.note(tx, { kind: 'port', id: portId })
  }
}

/**
 * A gateway's address is nobody else's, and a router that has it keeps it.
 * @throws ApiError GatewayIpInUse, IpAddressInUse.
 */
async function assertGatewayFree(tx: Tx, subnet: Row<'subnets'>, gatewayIp: string | null): Promise<void> {
  if (gatewayIp === subnet.gatewayIp) return
  const holderOf = (ipAddress: string | null) =>
    tx
      .selectFrom('portAddresses')
      .innerJoin('ports', 'ports.id', 'portAddresses.portId')
      .select(['ports.id', 'ports.deviceOwner'])
      .where('portAddresses.subnetId', '=', subnet.id)
      .where('portAddresses.ipAddress', '=', ipAddress ?? '')
      .executeTakeFirst()
  const old = await holderOf(subnet.gatewayIp)
  if (old?.deviceOwner === OWNERS.routerInterface) {
    const message = `Current gateway ip ${subnet.gatewayIp} is in use by port ${old.id}; the subnet cannot lose it.`
    throw networkError('GatewayIpInUse', message)
  }
  const holder = await holderOf(gatewayIp)
  if (!holder || holder.deviceOwner === OWNERS.routerInterface) return
  throw networkError('IpAddressInUse', `Address ${gatewayIp} is in use by port ${holder.id}.`)
}

/**
 * Takes back what cards got by themselves.
 * @throws ApiError SubnetInUse when somebody has an address that was given.
 */
async function releaseAddresses({ cloud, now }: ResourceCall, tx: Tx, subnet: Row<'subnets'>): Promise<void> {
  const holders = await tx
    .selectFrom('portAddresses')
    .innerJoin('ports', 'ports.id', 'portAddresses.portId')
    .select(['ports.id', 'ports.deviceOwner'])
    .where('portAddresses.subnetId', '=', subnet.id)
    .execute()
  const given = holders.find(
    ({ deviceOwner }) => deviceOwner !== OWNERS.dhcp && (!isAutomatic(subnet) || deviceOwner.startsWith('network:')),
  )
  if (given) {
    throw networkError(
      'SubnetInUse',
      `Unable to complete operation on subnet ${subnet.id}: One or more ports have an IP allocation from this subnet.`,
    )
  }
  for (const { id, deviceOwner } of holders) {
    if (deviceOwner === OWNERS.dhcp) continue
    await cloud.networkChanges.noteLeaving(tx, { kind: 'port', id })
    await tx.deleteFrom('portAddresses').where('portId', '=', id).where('subnetId', '=', subnet.id).execute()
    await tx.updateTable('ports').set(touched(now)).where('id', '=', id).execute()
  }
}

/** The project's own subnets, those on its networks, those of shared networks; for an admin everybody's. */
async function listVisible(read: Reader, caller: Caller, { ids, query = {} }: Wanted): Promise<ShownSubnet[]> {
  const wanted = ids ?? filterValues(query, 'id')
  const networks = filterValues(query, 'network_id')
  const rows = await read
    .selectFrom('subnets')
    .innerJoin('networks', 'networks.id', 'subnets.networkId')
    .selectAll('subnets')
    .select(['networks.projectId as networkProjectId', 'networks.isShared'])
    .$if(!caller.isAdmin, (all) =>
      all.where((where) =>
        where.or([
          where('subnets.projectId', '=', caller.projectId),
          where('networks.projectId', '=', caller.projectId),
          where('networks.isShared', '=', 1),
        ]),
      ),
    )
    .$if(wanted !== undefined, (all) => all.where('subnets.id', 'in', wanted ?? []))
    .$if(networks !== undefined, (all) => all.where('subnets.networkId', 'in', networks ?? []))
    .orderBy('subnets.createdAt')
    .orderBy('subnets.id')
    .execute()
  const tags = await readTags(
    read,
    rows.map(({ id }) => id),
  )
  return rows.map((row) => ({ ...row, tags: tags.get(row.id) ?? [] }))
}
