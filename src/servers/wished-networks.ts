import type { Tx } from '../db/database.ts'
import { ApiError } from '../http/api-error.ts'
import type { Caller } from '../http/policy.ts'
import { isUuidLike } from '../lib/ids.ts'
import { findUsableNetwork, listUsableNetworks } from '../networks/network-store.ts'

/** A network card of a new server: on a network, or an existing port. */
export type WishedCard = { networkId: string; ipAddress?: string } | { portId: string }

interface WishedNetwork {
  uuid?: string
  port?: string | null
  fixed_ip?: string
}

/**
 * Which cards a new server gets. Without any wish: one on the only network the project may use, none when there is none.
 * @param count how many servers are made at once; only a single one can have a certain port or address.
 * @throws ApiError badRequest for what does not exist or cannot be; conflictingRequest for several networks and no wish.
 */
export async function readWishedNetworks(
  tx: Tx,
  caller: Caller,
  wished: readonly WishedNetwork[],
  count: number,
): Promise<WishedCard[]> {
  if (wished.length === 0) {
    const [only, another] = await listUsableNetworks(tx, caller.projectId)
    if (another) throw new ApiError('conflictingRequest', 'Multiple possible networks found; name one in "networks".')
    return only ? [{ networkId: only.id }] : []
  }
  const cards: WishedCard[] = []
  for (const wish of wished) cards.push(await readOne(tx, caller, wish, count))
  const ports = cards.flatMap((card) => ('portId' in card ? [card.portId] : []))
  if (new Set(ports).size < ports.length) throw new ApiError('badRequest', 'The same port is named twice.')
  return cards
}

async function readOne(tx: Tx, caller: Caller, wish: WishedNetwork, count: number): Promise<WishedCard> {
  const { uuid, port, fixed_ip: ipAddress } = wish
  if (count > 1 && (port || ipAddress)) {
    throw new ApiError('badRequest', 'Several servers at once cannot have the same port or address.')
  }
  if (port) {
    if (ipAddress) throw new ApiError('badRequest', 'A port has its own address; fixed_ip does not go with it.')
    if (!isUuidLike(port)) throw new ApiError('badRequest', `Port '${port}' is not a UUID.`)
    const known = await tx
      .selectFrom('ports')
      .innerJoin('networks', 'networks.id', 'ports.networkId')
      .select('networks.isExternal')
      .where('ports.id', '=', port)
      .where('ports.projectId', '=', caller.projectId)
      .executeTakeFirst()
    if (!known) throw new ApiError('badRequest', `Port ${port} could not be found.`)
    if (known.isExternal) throw new ApiError('badRequest', `Port ${port} is on an external network; servers are not.`)
    return { portId: port }
  }
  if (uuid === undefined) throw new ApiError('badRequest', 'A network needs a "uuid" or a "port".')
  if (!isUuidLike(uuid)) throw new ApiError('badRequest', `Network '${uuid}' is not a UUID.`)
  const network = await findUsableNetwork(tx, caller.projectId, uuid)
  if (!network) throw new ApiError('badRequest', `Network ${uuid} could not be found.`)
  return ipAddress === undefined ? { networkId: network.id } : { networkId: network.id, ipAddress }
}
