import { Type } from 'typebox'
import type { Cloud } from '../cloud.ts'
import type { Tx } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { Route } from '../host/host-driver.ts'
import type { App } from '../http/app.ts'
import { bodySchema, readEnvelope, readValues, text } from '../network-api/attributes.ts'
import type { ResourceCall } from '../network-api/resource.ts'
import { findOwned, findVisible, networkRoute, resourceRoutes } from '../network-api/resource-routes.ts'
import { addRoutes, assertReachable, removeRoutes } from './extra-routes.ts'
import { routerForwardingRoutes } from './router-forwarding-routes.ts'
import { addInterface, type InterfaceWish, type RouterInterface, removeInterface } from './router-interfaces.ts'
import { ROUTES, routerResource } from './router-resource.ts'
import { holdRouter, routesOf, updateRouter } from './router-store.ts'
import { routerView, type ShownRouter, uosRouterView } from './router-view.ts'

const Ids = Type.Object({ id: Type.String() })
const INTERFACE = { singular: 'router', attributes: { subnet_id: text(), port_id: text() } }
const EXTRA_ROUTES = { singular: 'router', attributes: { routes: ROUTES }, required: ['routes'] as const }

/** N14 to N20, N44, N45, delete, and extra routes one by one, as UOS and as Neutron have them. */
export function routerRoutes(app: App, cloud: Cloud): void {
  resourceRoutes(app, cloud, routerResource)
  routerForwardingRoutes(app, cloud)
  interfaceRoute(app, cloud, 'add_router_interface', (call, tx, id, wish) =>
    addInterface(cloud, tx, call.caller, id, wish),
  )
  interfaceRoute(app, cloud, 'remove_router_interface', (_call, tx, id, wish) => removeInterface(cloud, tx, id, wish))
  extraRoutesRoute(app, cloud, 'add_extraroutes', addRoutes)
  extraRoutesRoute(app, cloud, 'remove_extraroutes', removeRoutes)
}

/** The bodies of both, in and out, are bare. */
function interfaceRoute(
  app: App,
  cloud: Cloud,
  name: string,
  change: (call: ResourceCall, tx: Tx, id: string, wish: InterfaceWish) => Promise<RouterInterface>,
): void {
  networkRoute(app, cloud, {
    method: 'PUT',
    path: `/routers/:id/${name}`,
    params: Ids,
    operation: 'network:write',
    async handle(call, request) {
      const { subnet_id: subnetId, port_id: portId } = readValues(request.body, INTERFACE, 'uos')
      return cloud.db.transaction(async (tx) => {
        const router = await findOwned<ShownRouter>(routerResource, tx, call, (request.params as { id: string }).id)
        const changed = await change(call, tx, router.id, { subnetId, portId })
        return interfaceView(call, router, changed)
      })
    },
  })
}

function interfaceView(
  { dialect }: ResourceCall,
  { id, projectId }: Row<'routers'>,
  { portId, networkId, subnetIds }: RouterInterface,
) {
  const common = { id, tenant_id: projectId, port_id: portId, subnet_id: subnetIds[0] }
  return dialect === 'uos' ? common : { ...common, project_id: projectId, network_id: networkId, subnet_ids: subnetIds }
}

/** Changes some routes and leaves the others, which setting all of them at once cannot promise. */
function extraRoutesRoute(
  app: App,
  cloud: Cloud,
  name: string,
  change: (before: readonly Route[], given: readonly Route[]) => Route[],
): void {
  networkRoute(app, cloud, {
    method: 'PUT',
    path: `/routers/:id/${name}`,
    params: Ids,
    body: bodySchema(EXTRA_ROUTES),
    operation: 'network:write',
    async handle(call, request) {
      const { given } = readEnvelope(request.body, 'router')
      const { routes: wished = [] } = readValues(given[0], EXTRA_ROUTES, call.dialect)
      return cloud.db.transaction(async (tx) => {
        const { id } = await findOwned<ShownRouter>(routerResource, tx, call, (request.params as { id: string }).id)
        const { router, ends } = await holdRouter(tx, id, call.now)
        const routes = change(routesOf(router), wished)
        assertReachable(
          routes,
          ends.flatMap(({ addresses }) => addresses),
        )
        await updateRouter(tx, id, { routes: JSON.stringify(routes) }, call.now)
        cloud.networkChanges.note(tx, { kind: 'router', id })
        const changed = await findVisible<ShownRouter>(routerResource, tx, call, id)
        return { router: call.dialect === 'uos' ? uosRouterView(changed, false) : routerView(changed, call.caller) }
      })
    },
  })
}
