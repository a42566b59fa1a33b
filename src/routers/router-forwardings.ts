/** Ports of a router's own gateway address that lead inside: UOS has them, beside those of floating IPs. */
import type { Cloud } from '../cloud.ts'
import type { Tx } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { newId } from '../lib/ids.ts'
import { contains, formatAddress, parseAddress, parseNetwork } from '../lib/ip.ts'
import { networkError } from '../network-api/network-errors.ts'
import { holdRouter, type RouterEnd } from './router-store.ts'

type Parts = Pick<Cloud, 'networkChanges' | 'clock'>

export interface RouterForwardingWish {
  /** An IPv4 address, or one with `/32`. */
  insideAddress: string
  insidePort: number
  outsidePort: number
  /** `TCP` or `UDP`, in any case. */
  protocol: string
}

/** How many a router takes. */
const MOST = 100

/**
 * Leads a port of a router's gateway address to one inside; hosts follow after the commit.
 * @throws ApiError BadRequest for a protocol or an address that cannot be; OverQuota; PortForwardingExists.
 */
export async function addRouterForwarding(
  { networkChanges, clock }: Parts,
  tx: Tx,
  routerId: string,
  wish: RouterForwardingWish,
): Promise<Row<'portForwardings'>> {
  const now = clock.now()
  const { ends } = await holdRouter(tx, routerId, now)
  const protocol = readProtocol(wish.protocol)
  const insideAddress = readInside(ends, wish.insideAddress)
  const { insidePort, outsidePort } = wish
  const there = await listOwn(tx, routerId)
  if (there.some((one) => one.protocol === protocol && one.outsidePort === outsidePort)) {
    const message = `Router ${routerId} forwards ${protocol} port ${outsidePort} already.`
    throw networkError('PortForwardingExists', message)
  }
  if (there.length >= MOST) throw networkError('OverQuota', `A router forwards at most ${MOST} ports.`)
  const forwarding = {
    ...{ id: newId(), routerId, floatingIpId: null, outsideAddress: '', outsidePort, insidePortId: null },
    ...{ insideAddress, insidePort, protocol, description: '', createdAt: now },
  }
  await tx.insertInto('portForwardings').values(forwarding).execute()
  networkChanges.note(tx, { kind: 'router', id: routerId })
  return forwarding
}

/**
 * Ends one; hosts follow after the commit.
 * @throws ApiError PortForwardingNotFound.
 */
export async function removeRouterForwarding(
  { networkChanges, clock }: Parts,
  tx: Tx,
  routerId: string,
  id: string,
): Promise<Row<'portForwardings'>> {
  await holdRouter(tx, routerId, clock.now())
  const forwarding = (await listOwn(tx, routerId)).find((one) => one.id === id)
  if (!forwarding) throw networkError('PortForwardingNotFound', `Port forwarding ${id} could not be found.`)
  await tx.deleteFrom('portForwardings').where('id', '=', id).execute()
  networkChanges.note(tx, { kind: 'router', id: routerId })
  return forwarding
}

const listOwn = (tx: Tx, routerId: string): Promise<Row<'portForwardings'>[]> =>
  tx
    .selectFrom('portForwardings')
    .selectAll()
    .where('routerId', '=', routerId)
    .where('floatingIpId', 'is', null)
    .execute()

function readProtocol(text: string): 'tcp' | 'udp' {
  const protocol = text.toLowerCase()
  if (protocol === 'tcp' || protocol === 'udp') return protocol
  throw networkError('BadRequest', 'protocol is TCP or UDP.')
}

/** An address on a subnet the router is on, in its usual form. */
function readInside(ends: readonly RouterEnd[], text: string): string {
  try {
    const address = parseAddress(text.replace(/\/32$/, ''))
    const interfaces = ends.filter(({ isGateway }) => !isGateway).flatMap(({ addresses }) => addresses)
    if (address.version === 4 && interfaces.some(({ cidr }) => contains(parseNetwork(cidr), address))) {
      return formatAddress(address)
    }
  } catch (cause) {
    throw networkError('BadRequest', 'inside_addr is an IPv4 address.', { cause })
  }
  throw networkError('BadRequest', `${text} is on no IPv4 subnet that the router is on.`)
}
