import { Type } from 'typebox'
import type { Cloud } from '../cloud.ts'
import type { Tx } from '../db/database.ts'
import type { App } from '../http/app.ts'
import { type Attributes, integer, readValues, text, type Values } from '../network-api/attributes.ts'
import { findOwned, networkRoute } from '../network-api/resource-routes.ts'
import { addRouterForwarding, removeRouterForwarding } from './router-forwardings.ts'
import { routerResource } from './router-resource.ts'
import { type ShownRouter, uosForwardingView } from './router-view.ts'

const Ids = Type.Object({ id: Type.String() })
const FORWARDING = {
  inside_addr: text(64),
  inside_port: integer(1, 65_535),
  outside_port: integer(1, 65_535),
  protocol: text(16),
}
const REMOVAL = { id: text(36) }

/** N44 and N45; their bodies are bare, in and out. */
export function routerForwardingRoutes(app: App, cloud: Cloud): void {
  forwardingRoute(app, cloud, 'add_router_portforwarding', FORWARDING, async (tx, id, wish) =>
    uosForwardingView(
      await addRouterForwarding(cloud, tx, id, {
        insideAddress: wish.inside_addr ?? '',
        insidePort: wish.inside_port ?? 0,
        outsidePort: wish.outside_port ?? 0,
        protocol: wish.protocol ?? '',
      }),
    ),
  )
  forwardingRoute(app, cloud, 'remove_router_portforwarding', REMOVAL, async (tx, id, wish) => ({
    ...uosForwardingView(await removeRouterForwarding(cloud, tx, id, wish.id ?? '')),
    router_id: id,
  }))
}

/** All attributes are needed. */
function forwardingRoute<Table extends Attributes>(
  app: App,
  cloud: Cloud,
  name: string,
  attributes: Table,
  change: (tx: Tx, routerId: string, wish: Values<Table>) => Promise<unknown>,
): void {
  const required = Object.keys(attributes)
  networkRoute(app, cloud, {
    method: 'PUT',
    path: `/uos_resources/:id/${name}`,
    params: Ids,
    operation: 'network:write',
    async handle(call, request) {
      const wish = readValues<Table>(request.body, { singular: 'port_forwarding', attributes, required }, 'uos')
      return cloud.db.transaction(async (tx) => {
        const { id } = request.params as { id: string }
        const router = await findOwned<ShownRouter>(routerResource, tx, call, id)
        return change(tx, router.id, wish)
      })
    },
  })
}
