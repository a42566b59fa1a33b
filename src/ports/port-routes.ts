import type { Cloud } from '../cloud.ts'
import type { App } from '../http/app.ts'
import { resourceRoutes } from '../network-api/resource-routes.ts'
import { portResource } from './port-resource.ts'

/** N27 to N35, as UOS and as Neutron have them. */
export function portRoutes(app: App, cloud: Cloud): void {
  resourceRoutes(app, cloud, portResource)
}
