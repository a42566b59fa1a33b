import type { Reader } from '../db/database.ts'
import type { Row } from '../db/schema.ts'

/**
 * Who asks: the server whose card has this address on this network. Both come from the socket, and a filter at the card
 * keeps other guests from using the address, so nothing the guest says counts.
 */
export async function findGuest(
  read: Reader,
  networkId: string,
  ipAddress: string,
): Promise<Row<'servers'> | undefined> {
  return read
    .selectFrom('portAddresses')
    .innerJoin('ports', 'ports.id', 'portAddresses.portId')
    .innerJoin('servers', 'servers.id', 'ports.deviceId')
    .selectAll('servers')
    .where('ports.networkId', '=', networkId)
    .where('portAddresses.ipAddress', '=', ipAddress)
    .where('servers.deletedAt', 'is', null)
    .executeTakeFirst()
}
