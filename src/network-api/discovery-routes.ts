/**
 * How clients find out what there is: versions, resources, extensions and zones. Where Neutron has more than is here,
 * its lists are there and empty, since clients ask before they go on.
 * Source: shared/spec/neighbours.md §1.3 and §4.
 */
import { Type } from 'typebox'
import type { Cloud } from '../cloud.ts'
import type { App } from '../http/app.ts'
import { baseUrl } from '../http/base-url.ts'
import { EXTENSIONS, type Extension } from './extensions.ts'
import { type Query, type Shown, selectPage, trim } from './list-query.ts'
import { networkError } from './network-errors.ts'
import { networkRoute } from './resource-routes.ts'

/** When the list of extensions was drawn up; clients show it. */
const UPDATED = '2026-11-24T00:00:00-00:00'

/** What can be made, in the singular and as in paths. */
const RESOURCES = [
  ['network', 'networks'],
  ['subnet', 'subnets'],
  ['port', 'ports'],
  ['router', 'routers'],
  ['floatingip', 'floatingips'],
  ['security_group', 'security-groups'],
  ['security_group_rule', 'security-group-rules'],
] as const

/** Lists of what this cloud never has any of; path and envelope. */
const EMPTY = [
  ['/subnetpools', 'subnetpools', 'network:read'],
  ['/rbac-policies', 'rbac_policies', 'network:read'],
  ['/service-providers', 'service_providers', 'network:read'],
  // The service has no parts that could be up or down by themselves.
  ['/agents', 'agents', 'network:admin'],
] as const

/** Version documents, which need no token, and the lists of what there is. */
export function discoveryRoutes(app: App, cloud: Cloud): void {
  app.get('/network', { config: { isPublic: true } }, async (request) => ({
    versions: [
      {
        id: 'v2.0',
        status: 'CURRENT',
        links: [{ rel: 'self', href: `${baseUrl(cloud, request)}/network/v2.0/` }],
      },
    ],
  }))
  app.get('/network/v2.0', { config: { isPublic: true } }, async (request) => ({
    resources: RESOURCES.map(([name, collection]) => ({
      name,
      collection,
      links: [{ rel: 'self', href: `${baseUrl(cloud, request)}/network/v2.0/${collection}` }],
    })),
  }))
  extensionRoutes(app, cloud)
  for (const [path, envelope, operation] of EMPTY) {
    networkRoute(app, cloud, { method: 'GET', path, operation, handle: async () => ({ [envelope]: [] }) })
  }
  networkRoute(app, cloud, {
    method: 'GET',
    path: '/availability_zones',
    operation: 'network:read',
    async handle(_, request) {
      const query = request.query as Query
      const hosts = cloud.db.read.selectFrom('hosts').select('availabilityZone').distinct()
      const zones = (await hosts.orderBy('availabilityZone').execute()).flatMap(({ availabilityZone: name }) =>
        ['network', 'router'].map((resource) => ({ id: `${resource} ${name}`, name, resource, state: 'available' })),
      )
      return { availability_zones: selectPage(zones, query).items.map(({ id: _, ...zone }) => zone) }
    },
  })
}

function extensionRoutes(app: App, cloud: Cloud): void {
  networkRoute(app, cloud, {
    method: 'GET',
    path: '/extensions',
    operation: 'network:read',
    handle: async (_, request) => ({
      extensions: EXTENSIONS.map((one) => trim(extensionView(one) as unknown as Shown, request.query as Query)),
    }),
  })
  networkRoute(app, cloud, {
    method: 'GET',
    path: '/extensions/:alias',
    operation: 'network:read',
    params: Type.Object({ alias: Type.String() }),
    async handle(_, request) {
      const { alias } = request.params as { alias: string }
      const extension = EXTENSIONS.find((one) => one.alias === alias)
      if (!extension) throw networkError('ExtensionNotFound', `Extension with alias ${alias} does not exist.`)
      return { extension: extensionView(extension) }
    },
  })
}

const extensionView = (extension: Extension) => ({ ...extension, updated: UPDATED, links: [] })
