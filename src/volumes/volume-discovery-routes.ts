/**
 * How clients find out what the volume service is: versions, zones, extensions and services. Where Cinder has more than
 * is here, its lists are there and empty, since clients ask before they go on.
 * Source: shared/spec/neighbours.md §1.3 and §5.
 */
import type { FastifyRequest } from 'fastify'
import type { Cloud } from '../cloud.ts'
import { listHosts } from '../hosts/host-store.ts'
import type { App } from '../http/app.ts'
import { baseUrl } from '../http/base-url.ts'
import { timestampB } from '../http/timestamps.ts'
import { volumeRoute } from './volume-api.ts'
import { NEWEST_MINOR } from './volume-version.ts'

/** Names by which clients look for what there is. */
const EXTENSIONS = [
  ['os-extended-snapshot-attributes', 'ExtendedSnapshotAttributes', 'Progress and project of snapshots.'],
  ['os-quota-sets', 'Quotas', 'What projects may have.'],
  ['os-services', 'Services', 'The parts of the service.'],
  ['os-types-extra-specs', 'TypesExtraSpecs', 'Extra specs of volume types.'],
  ['os-types-manage', 'TypesManage', 'Volume types can be made and deleted.'],
  ['os-used-limits', 'UsedLimits', 'Limits tell what is used.'],
  ['os-vol-host-attr', 'VolumeHostAttribute', 'The host of a volume.'],
  ['os-vol-image-meta', 'VolumeImageMetadata', 'What a volume keeps of its image.'],
  ['os-vol-tenant-attr', 'VolumeTenantAttribute', 'The project of a volume.'],
  ['os-volume-actions', 'VolumeActions', 'Actions of volumes.'],
  ['os-volume-transfer', 'VolumeTransfer', 'Volumes change from project to project.'],
  ['os-volume-type-access', 'VolumeTypeAccess', 'Volume types for some projects only.'],
] as const

const RESOURCE_FILTERS = [
  {
    resource: 'volume',
    filters: ['name', 'status', 'metadata', 'bootable', 'availability_zone', 'id', 'user_id', 'volume_type_id'],
  },
  { resource: 'snapshot', filters: ['name', 'status', 'volume_id', 'metadata', 'id', 'user_id'] },
  { resource: 'attachment', filters: ['id', 'volume_id', 'instance_id', 'status'] },
]

/** Lists of what this cloud never has any of; path and envelope. */
const EMPTY = [
  ['/backups', 'backups'],
  ['/backups/detail', 'backups'],
] as const

export function volumeDiscoveryRoutes(app: App, cloud: Cloud): void {
  const { db } = cloud
  const versions = (request: FastifyRequest) => ({
    versions: [
      {
        id: 'v3.0',
        status: 'CURRENT',
        version: `3.${NEWEST_MINOR}`,
        min_version: '3.0',
        updated: '2026-11-24T00:00:00Z',
        links: [{ rel: 'self', href: `${baseUrl(cloud, request)}/volume/v3/` }],
        'media-types': [{ base: 'application/json', type: 'application/vnd.openstack.volume+json;version=3' }],
      },
    ],
  })
  app.get('/volume', { config: { isPublic: true } }, async (request, reply) => reply.code(300).send(versions(request)))
  app.get('/volume/v3', { config: { isPublic: true } }, async (request) => versions(request))

  for (const [path, envelope] of EMPTY) {
    volumeRoute(app, cloud, {
      method: 'GET',
      path,
      operation: 'volumes:read',
      handle: async () => ({ [envelope]: [] }),
    })
  }

  volumeRoute(app, cloud, {
    method: 'GET',
    path: '/extensions',
    operation: 'volumes:read',
    handle: async () => ({
      extensions: EXTENSIONS.map(([alias, name, description]) => ({
        alias,
        name,
        description,
        updated: '2026-11-24T00:00:00+00:00',
        links: [],
      })),
    }),
  })

  volumeRoute(app, cloud, {
    method: 'GET',
    path: '/resource_filters',
    operation: 'volumes:read',
    since: 33,
    handle: async ({ query }) => ({
      resource_filters: RESOURCE_FILTERS.filter(
        ({ resource }) => query.resource === undefined || query.resource === resource,
      ),
    }),
  })

  volumeRoute(app, cloud, {
    method: 'GET',
    path: '/os-availability-zone',
    operation: 'volumes:read',
    async handle() {
      const hosts = await listHosts(db.read)
      const zones = [...new Set(hosts.map(({ availabilityZone }) => availabilityZone))]
      return {
        availabilityZoneInfo: zones.map((zoneName) => ({
          zoneName,
          zoneState: { available: hosts.some((host) => host.availabilityZone === zoneName && host.isEnabled === 1) },
        })),
      }
    },
  })

  volumeRoute(app, cloud, {
    method: 'GET',
    path: '/os-services',
    operation: 'volumes:admin',
    async handle({ query, version, now }) {
      const hosts = await listHosts(db.read)
      const services = hosts.flatMap((host) => {
        const common = {
          zone: host.availabilityZone,
          status: host.isEnabled === 1 ? 'enabled' : 'disabled',
          state: cloud.hosts.has(host.name) ? 'up' : 'down',
          updated_at: timestampB(cloud.hosts.has(host.name) ? now : host.seenAt),
          disabled_reason: null,
          ...(version >= 7 ? { cluster: null } : {}),
        }
        return [
          { binary: 'cinder-scheduler', host: host.name, ...common },
          {
            binary: 'cinder-volume',
            host: `${host.name}@novella`,
            ...common,
            frozen: false,
            replication_status: 'disabled',
            active_backend_id: null,
            ...(version >= 49 ? { backend_state: 'up' } : {}),
          },
        ]
      })
      return {
        services: services.filter(
          ({ binary, host }) =>
            (query.binary === undefined || query.binary === binary) &&
            (query.host === undefined || host.split('@', 1)[0] === query.host || host === query.host),
        ),
      }
    },
  })
}
