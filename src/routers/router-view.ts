import type { Row } from '../db/schema.ts'
import type { Caller } from '../http/policy.ts'
import type { Shown } from '../network-api/list-query.ts'
import { standardMembers, uosCreatedAt } from '../network-api/standard-members.ts'
import { type RouterEnd, routesOf } from './router-store.ts'

/** A router with what its views tell besides its row. */
export interface ShownRouter extends Row<'routers'> {
  /** Its end on the external network. */
  gateway: RouterEnd | undefined
  /** Of its own gateway address (UOS). */
  portForwardings: Row<'portForwardings'>[]
  tags: string[]
  availabilityZone: string
}

/** As Neutron shows it. Source: shared/spec/neighbours.md §4. */
export const routerView = (router: ShownRouter, caller: Pick<Caller, 'isAdmin'>): Shown => ({
  ...standardMembers(router),
  name: router.name,
  status: router.status,
  admin_state_up: router.isUp === 1,
  external_gateway_info:
    router.externalNetworkId === null
      ? null
      : {
          network_id: router.externalNetworkId,
          enable_snat: router.hasSnat === 1,
          external_fixed_ips: (router.gateway?.addresses ?? []).map(({ subnetId, ipAddress }) => ({
            subnet_id: subnetId,
            ip_address: ipAddress,
          })),
        },
  routes: routesOf(router),
  availability_zones: [router.availabilityZone],
  availability_zone_hints: JSON.parse(router.availabilityZoneHints),
  flavor_id: null,
  ...(caller.isAdmin ? { distributed: false, ha: false } : {}),
})

/** As UOS shows it; the answer of a create is short. Source: shared/spec/uos-network.md §3. */
export function uosRouterView(router: ShownRouter, isCreated: boolean): Shown {
  const { externalNetworkId } = router
  const snat = isCreated ? {} : { enable_snat: router.hasSnat === 1 }
  return {
    id: router.id,
    name: router.name,
    status: router.status,
    admin_state_up: router.isUp === 1,
    tenant_id: router.projectId,
    external_gateway_info: externalNetworkId === null ? null : { network_id: externalNetworkId, ...snat },
    ...(isCreated ? {} : { portforwardings: router.portForwardings.map(uosForwardingView), routes: routesOf(router) }),
    ...uosCreatedAt(router, isCreated),
  }
}

/** A port forwarding as UOS shows it. */
export const uosForwardingView = (forwarding: Row<'portForwardings'>) => ({
  id: forwarding.id,
  inside_addr: forwarding.insideAddress,
  inside_port: forwarding.insidePort,
  outside_port: forwarding.outsidePort,
  protocol: forwarding.protocol.toUpperCase(),
})
