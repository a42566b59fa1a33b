import { Type } from 'typebox'
import type { Cloud } from '../cloud.ts'
import type { App } from '../http/app.ts'
import { readValues } from '../network-api/attributes.ts'
import { findOwned, findVisible, networkRoute, resourceRoutes } from '../network-api/resource-routes.ts'
import { floatingIpResource, RATE_LIMIT } from './floating-ip-resource.ts'
import { noteRouters, updateFloatingIp } from './floating-ip-store.ts'
import { type ShownFloatingIp, uosRateView } from './floating-ip-view.ts'
import { forwardingRoutes } from './forwarding-routes.ts'

const Ids = Type.Object({ id: Type.String() })
const RATE = { singular: 'floatingip', attributes: { rate_limit: RATE_LIMIT }, required: ['rate_limit'] as const }

/** N21 to N26, as UOS and as Neutron have them. */
export function floatingIpRoutes(app: App, cloud: Cloud): void {
  resourceRoutes(app, cloud, floatingIpResource)
  forwardingRoutes(app, cloud)
  // The document has one path and a bare body, later releases of the vendor another and an envelope. (I-N08)
  for (const place of ['uos_resources', 'floatingips']) rateRoute(app, cloud, place)
}

/** N22: the body may be bare or not, the answer is bare. */
function rateRoute(app: App, cloud: Cloud, place: string): void {
  networkRoute(app, cloud, {
    method: 'PUT',
    path: `/${place}/:id/update_floatingip_ratelimit`,
    params: Ids,
    operation: 'network:write',
    async handle(call, request) {
      const body = request.body as { floatingip?: unknown } | null | undefined
      const given = body?.floatingip ?? body
      const { rate_limit: rateLimitKbps } = readValues(given, RATE, 'uos')
      return cloud.db.transaction(async (tx) => {
        const { id } = request.params as { id: string }
        const { routerId } = await findOwned<ShownFloatingIp>(floatingIpResource, tx, call, id)
        if (rateLimitKbps !== undefined) await updateFloatingIp(tx, id, { rateLimitKbps }, call.now)
        noteRouters(cloud, tx, [routerId])
        return uosRateView(await findVisible<ShownFloatingIp>(floatingIpResource, tx, call, id))
      })
    },
  })
}
