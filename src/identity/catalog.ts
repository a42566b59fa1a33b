import { createHash } from 'node:crypto'

/** A service of the catalogue; `{project}` in its path stands for the project of the token. */
interface Service {
  type: string
  name: string
  path: string
}

/**
 * Where clients find each service; they append the version to identity, image and network themselves.
 * Source: shared/design.md, "One port, every service"; shared/spec/neighbours.md, section 1.1.
 */
const SERVICES: readonly Service[] = [
  { type: 'compute', name: 'nova', path: '/compute/v2.1' },
  { type: 'identity', name: 'keystone', path: '/identity' },
  { type: 'image', name: 'glance', path: '/image' },
  { type: 'network', name: 'neutron', path: '/network' },
  { type: 'volume', name: 'cinder', path: '/volume/v3/{project}' },
  { type: 'volumev2', name: 'cinderv2', path: '/volume/v3/{project}' },
  { type: 'volumev3', name: 'cinderv3', path: '/volume/v3/{project}' },
]

export interface CatalogEndpoint {
  id: string
  interface: 'public' | 'internal' | 'admin'
  region: string
  region_id: string
  url: string
}

export interface CatalogEntry {
  id: string
  type: string
  name: string
  endpoints: CatalogEndpoint[]
}

/** Where the catalogue is asked for. */
export interface Place {
  /** Scheme and host, without a slash at the end. */
  base: string
  region: string
}

/** Identity ids have 32 hex digits; these stay the same from start to start without a row. */
const fixedId = (...parts: string[]): string => createHash('sha256').update(parts.join(' ')).digest('hex').slice(0, 32)

/** The catalogue as the v3 API shows it, for a token of this project. */
export function catalogView({ base, region }: Place, projectId: string): CatalogEntry[] {
  return SERVICES.map(({ type, name, path }) => ({
    id: fixedId('service', type),
    type,
    name,
    endpoints: (['public', 'internal', 'admin'] as const).map((kind) => ({
      id: fixedId('endpoint', region, type, kind),
      interface: kind,
      region,
      region_id: region,
      url: base + path.replace('{project}', projectId),
    })),
  }))
}

/** The same as the v2.0 API shows it. */
export function catalogV2View({ base, region }: Place, projectId: string) {
  return SERVICES.map(({ type, name, path }) => {
    const url = base + path.replace('{project}', projectId)
    return {
      type,
      name,
      endpoints: [
        { id: fixedId('endpoint', region, type, 'public'), region, publicURL: url, internalURL: url, adminURL: url },
      ],
      endpoints_links: [],
    }
  })
}
