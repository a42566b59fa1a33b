import type { Reader } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { macOfLinkLocal } from '../lib/ip.ts'

/**
 * Who asks: the server whose card has this address on this network. Both come from the socket, and a filter at the card
 * keeps other guests from using the address, so nothing the guest says counts. A link-local address of IPv6 is the
 * card's whose MAC it is made of.
 */
export async function findGuest(
  read: Reader,
  networkId: string,
  ipAddress: string,
): Promise<Row<'servers'> | undefined> {
  const servers = read
    .selectFrom('ports')
    .innerJoin('servers', 'servers.id', 'ports.deviceId')
    .selectAll('servers')
    .where('ports.networkId', '=', networkId)
    .where('servers.deletedAt', 'is', null)
  const macAddress = macOfLinkLocal(ipAddress)
  if (macAddress !== undefined) return servers.where('ports.macAddress', '=', macAddress).executeTakeFirst()
  return servers
    .innerJoin('portAddresses', 'portAddresses.portId', 'ports.id')
    .where('portAddresses.ipAddress', '=', ipAddress)
    .executeTakeFirst()
}
