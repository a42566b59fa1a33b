import { findOpenAction } from '../actions/journal.ts'
import type { Tx } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { networkError } from '../network-api/network-errors.ts'
import { type ResourceCall, resource } from '../network-api/resource.ts'
import { replaceTags } from '../network-api/tag-store.ts'
import { findVisibleNetwork } from '../networks/network-store.ts'
import { ensureDefaultGroup } from '../security-groups/security-group-store.ts'
import { acceptDetachInterface } from '../servers/attach-interface.ts'
import { changePort } from './change-port.ts'
import { deletePorts } from './delete-ports.ts'
import { listPorts } from './list-ports.ts'
import { PORT_ALIASES, PORT_CHANGES, PORT_FIRST } from './port-attributes.ts'
import { assertFiltersFit, assertFreeDevice, assertMayChoose, isServicePort, readGroups } from './port-rules.ts'
import { insertPort } from './port-store.ts'
import { type PortWish, readDhcpOptions, readFixedIps, readPairs, readPlainColumns } from './port-values.ts'
import { portView, type ShownPort, uosPortView } from './port-view.ts'

/** N27 to N35. */
export const portResource = resource({
  singular: 'port',
  plural: 'ports',
  title: 'Port',
  notFound: 'PortNotFound',
  read: 'network:read',
  write: 'network:write',
  list: listPorts,
  neutronView: portView,
  uosView: uosPortView,
  create: {
    shape: {
      singular: 'port',
      attributes: { ...PORT_FIRST, ...PORT_CHANGES },
      required: ['network_id'],
      aliases: PORT_ALIASES,
      readOnly: ['id', 'status', 'binding:vif_type', 'binding:vif_details'],
    },
    isBulk: true,
    quota: 'port',
    run: createPort,
  },
  update: {
    shape: {
      singular: 'port',
      attributes: PORT_CHANGES,
      aliases: PORT_ALIASES,
      readOnly: ['id', 'status', 'network_id', 'tenant_id', 'project_id', 'binding:vif_type', 'binding:vif_details'],
    },
    run: changePort,
  },
  remove: removePort,
})

async function createPort(call: ResourceCall, tx: Tx, wish: PortWish, projectId: string): Promise<string> {
  const { cloud, caller, now } = call
  const network = await findNetworkToPlugInto(tx, call, wish.network_id ?? '')
  assertMayChoose(caller, network, wish)
  await assertFreeDevice(tx, wish.device_id ?? '')
  const isFiltered = wish.port_security_enabled ?? network.hasPortSecurity === 1
  const groups = await readWishedGroups(call, tx, wish, projectId, isFiltered)
  assertFiltersFit(wish, { isFiltered, groups: groups.length, pairs: wish.allowed_address_pairs?.length ?? 0 })
  const options = readDhcpOptions(wish.extra_dhcp_opts ?? [], [])
  const id = await insertPort(tx, {
    projectId,
    networkId: network.id,
    deviceId: wish.device_id ?? '',
    deviceOwner: wish.device_owner ?? '',
    fixedIps: readFixedIps(wish.fixed_ips),
    macAddress: wish.mac_address?.toLowerCase(),
    securityGroupIds: groups,
    columns: { ...readPlainColumns(wish), extraDhcpOptions: JSON.stringify(options) },
    now,
  })
  if (wish.allowed_address_pairs && wish.allowed_address_pairs.length > 0) {
    const { macAddress } = await tx
      .selectFrom('ports')
      .select('macAddress')
      .where('id', '=', id)
      .executeTakeFirstOrThrow()
    const allowedAddressPairs = JSON.stringify(readPairs(wish.allowed_address_pairs, macAddress))
    await tx.updateTable('ports').set({ allowedAddressPairs }).where('id', '=', id).execute()
  }
  if (wish.tags) await replaceTags(tx, id, wish.tags)
  await cloud.networkChanges.noteNeighbours(tx, [id])
  return id
}

async function readWishedGroups(
  { cloud, caller, now }: ResourceCall,
  tx: Tx,
  wish: PortWish,
  projectId: string,
  isFiltered: boolean,
): Promise<string[]> {
  if (wish.security_groups) return readGroups(tx, caller, projectId, wish.security_groups)
  return isFiltered ? [(await ensureDefaultGroup(cloud, tx, projectId, now)).id] : []
}

/**
 * A network the caller may have ports on: its own or a shared one; any for an admin.
 * @throws ApiError NetworkNotFound; PolicyNotAuthorized for an external one.
 */
async function findNetworkToPlugInto(tx: Tx, { caller }: ResourceCall, id: string): Promise<Row<'networks'>> {
  const network = await findVisibleNetwork(tx, caller, id)
  if (!network) throw networkError('NetworkNotFound', `Network ${id} could not be found.`)
  if (!network.isExternal || caller.isAdmin) return network
  throw networkError(
    'PolicyNotAuthorized',
    `Network ${id} is external: routers and floating IPs have their ports there, and nobody else.`,
  )
}

/**
 * Deletes a port. A server's is detached first, as by the compute API, and then goes with its card.
 * @throws ApiError ServicePortInUse for the end of a router or a service; Conflict or PortInUse for a server's state.
 */
async function removePort({ cloud, caller }: ResourceCall, tx: Tx, port: ShownPort): Promise<void> {
  const { id, deviceId, deviceOwner } = port
  if (isServicePort(port)) {
    const message = `Port ${id} cannot be deleted directly via the port API: has device owner ${deviceOwner}.`
    throw networkError('ServicePortInUse', message)
  }
  const server = await tx
    .selectFrom('servers')
    .select('id')
    .where('id', '=', deviceId)
    .where('deletedAt', 'is', null)
    .executeTakeFirst()
  if (!server) return deletePorts(cloud, tx, [id])
  const busy = () => networkError('PortInUse', `Port ${id} is a card of server ${deviceId}, which is being changed.`)
  if (await findOpenAction(tx, deviceId)) throw busy()
  try {
    // Now it is as if the service had made it, so that it is deleted when it is detached.
    await tx.updateTable('ports').set({ isOwnedByServer: 1 }).where('id', '=', id).execute()
    await acceptDetachInterface(cloud, tx, caller, deviceId, id)
  } catch (error) {
    // Another action was opened since the look.
    throw cloud.db.isDuplicate(error) ? busy() : error
  }
}
