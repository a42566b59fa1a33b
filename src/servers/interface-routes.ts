import { Type } from 'typebox'
import type { Cloud } from '../cloud.ts'
import type { Reader } from '../db/database.ts'
import { ApiError } from '../http/api-error.ts'
import type { App } from '../http/app.ts'
import { type Dialect, UOS } from '../http/dialect.ts'
import { sendOnce } from '../http/once.ts'
import { acceptAttachInterface, acceptDetachInterface, portNotOnServer } from './attach-interface.ts'
import { afterDeviceChanges } from './device-changes.ts'
import {
  AddressesAnswer,
  AttachRequest,
  InterfaceAnswer,
  InterfacesAnswer,
  NetworkAddressesAnswer,
} from './interface-schema.ts'
import { SPOKEN } from './server-state.ts'
import { getServer, withCards } from './server-store.ts'
import { addressesView } from './server-view.ts'

const OfServer = Type.Object({ serverId: Type.String() })
const OfPort = Type.Object({ ...OfServer.properties, portId: Type.String() })
const OfNetwork = Type.Object({ ...OfServer.properties, networkName: Type.String() })

/** The network cards of a server (S26 to S28, and their lists), and its addresses by network. */
export function interfaceRoutes(app: App, cloud: Cloud, { base }: Dialect = UOS): void {
  const { db } = cloud
  const cards = `${base}/servers/:serverId/os-interface`
  const ips = `${base}/servers/:serverId/ips`

  app.get(
    cards,
    { schema: { params: OfServer, response: { 200: InterfacesAnswer } }, config: { operation: 'servers:read' } },
    async (request) => {
      const { serverId } = request.params
      await getServer(db.read, request.caller, serverId)
      return { interfaceAttachments: await listInterfaces(db.read, serverId) }
    },
  )

  app.get(
    `${cards}/:portId`,
    { schema: { params: OfPort, response: { 200: InterfaceAnswer } }, config: { operation: 'servers:read' } },
    async (request) => {
      const { serverId, portId } = request.params
      await getServer(db.read, request.caller, serverId)
      return { interfaceAttachment: await getInterface(db.read, serverId, portId) }
    },
  )

  app.post(
    cards,
    {
      schema: { params: OfServer, body: AttachRequest, response: { 200: InterfaceAnswer } },
      config: { operation: 'servers:action' },
    },
    async (request, reply) => {
      const { caller, body } = request
      const { serverId } = request.params
      await afterDeviceChanges(cloud, serverId, SPOKEN.attachInterface, () =>
        sendOnce(cloud, request, reply, 200, async (tx) => {
          const portId = await acceptAttachInterface(cloud, tx, caller, serverId, body)
          return { interfaceAttachment: await getInterface(tx, serverId, portId) }
        }),
      )
      return reply
    },
  )

  app.delete(
    `${cards}/:portId`,
    { schema: { params: OfPort }, config: { operation: 'servers:action' } },
    async (request, reply) => {
      const { serverId, portId } = request.params
      await afterDeviceChanges(cloud, serverId, SPOKEN.detachInterface, () =>
        db.transaction((tx) => acceptDetachInterface(cloud, tx, request.caller, serverId, portId)),
      )
      return reply.code(202).send()
    },
  )

  const readAddresses = async (request: { caller: Parameters<typeof getServer>[1] }, serverId: string) => {
    const server = await getServer(db.read, request.caller, serverId)
    const [shown] = await withCards(db.read, [server])
    return addressesView(shown?.cards ?? [], ({ ipAddress, ipVersion }) => ({
      version: ipVersion ?? 4,
      addr: ipAddress ?? '',
    }))
  }
  app.get(
    ips,
    { schema: { params: OfServer, response: { 200: AddressesAnswer } }, config: { operation: 'servers:read' } },
    async (request) => ({ addresses: await readAddresses(request, request.params.serverId) }),
  )
  app.get(
    `${ips}/:networkName`,
    { schema: { params: OfNetwork, response: { 200: NetworkAddressesAnswer } }, config: { operation: 'servers:read' } },
    async (request) => {
      const { serverId, networkName } = request.params
      const addresses = await readAddresses(request, serverId)
      if (!Object.hasOwn(addresses, networkName)) {
        throw new ApiError('itemNotFound', `Instance ${serverId} has no address on a network named ${networkName}.`)
      }
      return { [networkName]: addresses[networkName] ?? [] }
    },
  )
}

/** The cards of a server, first card first. */
async function listInterfaces(read: Reader, serverId: string) {
  const rows = await read
    .selectFrom('ports')
    .leftJoin('portAddresses', 'portAddresses.portId', 'ports.id')
    .select([
      'ports.id',
      'ports.networkId',
      'ports.macAddress',
      'ports.status',
      'portAddresses.subnetId',
      'portAddresses.ipAddress',
    ])
    .where('ports.deviceId', '=', serverId)
    .orderBy('ports.position')
    .orderBy('portAddresses.ipAddress')
    .execute()
  return [...Map.groupBy(rows, ({ id }) => id).values()].flatMap((addresses) => {
    const [port] = addresses
    if (!port) return []
    const fixedIps = addresses.flatMap(({ subnetId, ipAddress }) =>
      subnetId === null || ipAddress === null ? [] : [{ subnet_id: subnetId, ip_address: ipAddress }],
    )
    const { id, networkId, macAddress, status } = port
    return [{ port_id: id, net_id: networkId, mac_addr: macAddress, port_state: status, fixed_ips: fixedIps }]
  })
}

/** @throws ApiError itemNotFound when the port is not this server's. */
async function getInterface(read: Reader, serverId: string, portId: string) {
  const all = await listInterfaces(read, serverId)
  const one = all.find(({ port_id }) => port_id === portId)
  if (!one) throw portNotOnServer(serverId, portId)
  return one
}
