import type { Cloud } from '../cloud.ts'
import type { App } from '../http/app.ts'
import { resourceRoutes } from '../network-api/resource-routes.ts'
import { ruleResource } from './rule-resource.ts'
import { securityGroupResource } from './security-group-resource.ts'

/** N36 to N43: security groups and their rules, as UOS and as Neutron have them. */
export function securityGroupRoutes(app: App, cloud: Cloud): void {
  resourceRoutes(app, cloud, securityGroupResource)
  resourceRoutes(app, cloud, ruleResource)
}
