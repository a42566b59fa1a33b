/** How a router gets its end on an external network, and loses it. */

import type { Cloud } from '../cloud.ts'
import type { Tx } from '../db/database.ts'
import { OWNERS } from '../db/device-owners.ts'
import type { Row } from '../db/schema.ts'
import type { Caller } from '../http/policy.ts'
import { networkError } from '../network-api/network-errors.ts'
import { listSubnets } from '../networks/network-store.ts'
import { deletePorts } from '../ports/delete-ports.ts'
import { insertPort } from '../ports/port-store.ts'
import { findUnreachable } from './extra-routes.ts'
import { assertNoOverlap, type RouterEnd, routesOf, updateRouter } from './router-store.ts'

type Parts = Pick<Cloud, 'networkChanges' | 'clock'>

/** What a body says of a gateway; null, or without a network: there is to be none. */
export interface GatewayWish {
  network_id?: string | null | undefined
  enable_snat?: boolean | string | undefined
  external_fixed_ips?: { subnet_id?: string | undefined; ip_address?: string | undefined }[] | undefined
}

/**
 * Gives a held router the gateway that is wished, in place of the one it has.
 * @param ends those of the router.
 * @throws ApiError NetworkNotFound; BadRequest when the network is not external or overlaps with an interface's;
 * PolicyNotAuthorized for what only admins choose; RouterExternalGatewayInUseByFloatingIp, RouterInterfaceInUseByRoute
 * for what would be cut off; of addresses as `insertPort`.
 */
export async function setGateway(
  parts: Parts,
  tx: Tx,
  caller: Pick<Caller, 'projectId' | 'isAdmin'>,
  router: Row<'routers'>,
  ends: readonly RouterEnd[],
  wish: GatewayWish | null,
): Promise<void> {
  const now = parts.clock.now()
  const networkId = wish?.network_id ?? null
  const hasSnat = !/^(false|0)$/i.test(String(wish?.enable_snat ?? true))
  if (wish) assertMayChoose(caller, hasSnat, wish)
  const gateway = ends.find(({ isGateway }) => isGateway)
  const isKept = gateway !== undefined && networkId === gateway.networkId && wish?.external_fixed_ips === undefined
  if (!isKept) {
    if (networkId !== null) await assertExternal(tx, caller, networkId)
    if (gateway) await dropGateway(parts, tx, router, ends, gateway, networkId)
    if (networkId !== null) {
      const interfaces = ends.filter((end) => end !== gateway)
      assertNoOverlap(interfaces, await listSubnets(tx, networkId))
      await insertPort(tx, {
        // Nobody's: projects see the gateway in their router, not among their ports.
        projectId: '',
        networkId,
        deviceId: router.id,
        deviceOwner: OWNERS.routerGateway,
        fixedIps: wish?.external_fixed_ips?.map((one) => ({ subnetId: one.subnet_id, ipAddress: one.ip_address })),
        securityGroupIds: [],
        now,
      })
    }
  }
  await updateRouter(tx, router.id, { externalNetworkId: networkId, hasSnat: hasSnat ? 1 : 0 }, now)
}

/** @param next the network of the gateway that follows; null when none does. */
async function dropGateway(
  parts: Parts,
  tx: Tx,
  router: Row<'routers'>,
  ends: readonly RouterEnd[],
  gateway: RouterEnd,
  next: string | null,
): Promise<void> {
  if (next !== gateway.networkId) {
    const floatingIp = await tx
      .selectFrom('floatingIps')
      .select('floatingIpAddress')
      .where('routerId', '=', router.id)
      .executeTakeFirst()
    if (floatingIp) {
      throw networkError(
        'RouterExternalGatewayInUseByFloatingIp',
        `The gateway of router ${router.id} is needed by floating IPs, for example ${floatingIp.floatingIpAddress}.`,
      )
    }
    const interfaces = ends.filter((end) => end !== gateway).flatMap(({ addresses }) => addresses)
    const route = findUnreachable(routesOf(router), interfaces)
    if (route) {
      const message = `The gateway of router ${router.id} is needed by its route to ${route.destination}.`
      throw networkError('RouterInterfaceInUseByRoute', message)
    }
  }
  await deletePorts(parts, tx, [gateway.portId])
}

function assertMayChoose({ isAdmin }: Pick<Caller, 'isAdmin'>, hasSnat: boolean, wish: GatewayWish): void {
  if (isAdmin) return
  // Without SNAT, addresses of tenants would show outside, where they mean something else.
  if (!hasSnat) throw networkError('PolicyNotAuthorized', 'Only an admin turns enable_snat off.')
  if (wish.external_fixed_ips !== undefined) {
    throw networkError('PolicyNotAuthorized', 'Only an admin chooses external_fixed_ips.')
  }
}

async function assertExternal(tx: Tx, caller: Pick<Caller, 'projectId' | 'isAdmin'>, id: string): Promise<void> {
  const network = await tx.selectFrom('networks').selectAll().where('id', '=', id).executeTakeFirst()
  if (network?.isExternal) return
  if (network && (network.isShared || caller.isAdmin || network.projectId === caller.projectId)) {
    throw networkError('BadRequest', `Network ${id} is not an external network.`)
  }
  throw networkError('NetworkNotFound', `Network ${id} could not be found.`)
}
