import type { Cloud } from '../cloud.ts'
import type { App } from '../http/app.ts'
import { resourceRoutes } from '../network-api/resource-routes.ts'
import { ipAvailabilityRoutes } from './ip-availability-routes.ts'
import { networkResource } from './network-resource.ts'
import { subnetResource } from './subnet-resource.ts'

/** N01 to N13 and deleting networks, as UOS and as Neutron have them; and how full networks are. */
export function networkRoutes(app: App, cloud: Cloud): void {
  resourceRoutes(app, cloud, networkResource)
  resourceRoutes(app, cloud, subnetResource)
  ipAvailabilityRoutes(app, cloud)
}
