import type { Reader, Tx } from '../db/database.ts'
import { OWNERS, ROUTER_ENDS } from '../db/device-owners.ts'
import type { Row } from '../db/schema.ts'
import type { Route } from '../host/host-driver.ts'
import { overlaps, parseNetwork } from '../lib/ip.ts'
import { networkError } from '../network-api/network-errors.ts'

/** One end of a router: a port of it, with its addresses. */
export interface RouterEnd {
  portId: string
  routerId: string
  networkId: string
  /** Else it is an interface. */
  isGateway: boolean
  addresses: { subnetId: string; ipAddress: string; cidr: string }[]
}

/** How many ids one question may name; beyond, all ends are read. */
const IDS_AT_ONCE = 1_000

/** The ends of these routers, oldest first. */
export async function listEnds(read: Reader, routerIds: readonly string[]): Promise<RouterEnd[]> {
  if (routerIds.length === 0) return []
  const rows = await read
    .selectFrom('ports')
    .leftJoin('portAddresses', 'portAddresses.portId', 'ports.id')
    .leftJoin('subnets', 'subnets.id', 'portAddresses.subnetId')
    .select(['ports.id', 'ports.deviceId', 'ports.networkId', 'ports.deviceOwner'])
    .select(['portAddresses.subnetId', 'portAddresses.ipAddress', 'subnets.cidr'])
    .where('ports.deviceOwner', 'in', ROUTER_ENDS)
    .$if(routerIds.length <= IDS_AT_ONCE, (all) => all.where('ports.deviceId', 'in', routerIds))
    .orderBy('ports.createdAt')
    .orderBy('ports.id')
    .orderBy('portAddresses.ipAddress')
    .execute()
  return [...Map.groupBy(rows, ({ id }) => id).values()].flatMap((ofPort) => {
    const [port] = ofPort
    if (!port) return []
    return {
      portId: port.id,
      routerId: port.deviceId,
      networkId: port.networkId,
      isGateway: port.deviceOwner === OWNERS.routerGateway,
      addresses: ofPort.flatMap(({ subnetId, ipAddress, cidr }) =>
        subnetId === null || ipAddress === null || cidr === null ? [] : [{ subnetId, ipAddress, cidr }],
      ),
    }
  })
}

/** Extra routes of a router. */
export const routesOf = ({ routes }: Pick<Row<'routers'>, 'routes'>): Route[] => JSON.parse(routes)

/** Writes to a router, or only says that it changed; of two at once the second waits here. */
export async function updateRouter(
  tx: Tx,
  id: string,
  change: Partial<Omit<Row<'routers'>, 'id' | 'revision' | 'createdAt' | 'updatedAt'>>,
  now: number,
): Promise<void> {
  await tx
    .updateTable('routers')
    .set((eb) => ({ ...change, revision: eb('revision', '+', 1), updatedAt: now }))
    .where('id', '=', id)
    .execute()
}

/** A router as it is once nobody else can change it; counts as a change of it. */
export async function holdRouter(
  tx: Tx,
  id: string,
  now: number,
): Promise<{ router: Row<'routers'>; ends: RouterEnd[] }> {
  await updateRouter(tx, id, {}, now)
  const router = await tx.selectFrom('routers').selectAll().where('id', '=', id).executeTakeFirst()
  if (!router) throw networkError('RouterNotFound', `Router ${id} could not be found.`)
  return { router, ends: await listEnds(tx, [id]) }
}

/**
 * Checks that a router may be on these subnets too: none is there already, and none has addresses in common with one.
 * @throws ApiError BadRequest.
 */
export function assertNoOverlap(ends: readonly RouterEnd[], subnets: readonly { id: string; cidr: string }[]): void {
  const there = ends.flatMap(({ addresses }) => addresses)
  for (const { id, cidr } of subnets) {
    if (there.some(({ subnetId }) => subnetId === id)) {
      throw networkError('BadRequest', `The router is on subnet ${id} already.`)
    }
    const other = there.find((address) => overlaps(parseNetwork(address.cidr), parseNetwork(cidr)))
    if (other) {
      const message = `${cidr} of subnet ${id} overlaps with ${other.cidr} of subnet ${other.subnetId}.`
      throw networkError('BadRequest', message)
    }
  }
}
