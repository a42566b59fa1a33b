import type { Cloud } from '../cloud.ts'
import { listHosts } from '../hosts/host-store.ts'
import type { App } from '../http/app.ts'
import { NOVA } from '../http/dialect.ts'
import { timestampB } from '../http/timestamps.ts'

/** The availability zones, and for admins the hosts in each. Source: shared/spec/nova-v21.md, section 6. */
export function zoneRoutes(app: App, cloud: Cloud): void {
  const path = `${NOVA.base}/os-availability-zone`
  const listZones = async () => {
    const zones = Map.groupBy(await listHosts(cloud.db.read), ({ availabilityZone }) => availabilityZone)
    return [...zones].sort(([a], [b]) => (a < b ? -1 : 1))
  }

  app.get(path, { config: { operation: 'zones:read' } }, async () => ({
    availabilityZoneInfo: (await listZones()).map(([zoneName, hosts]) => ({
      zoneName,
      zoneState: { available: hosts.some(({ isEnabled }) => isEnabled === 1) },
      hosts: null,
    })),
  }))

  app.get(`${path}/detail`, { config: { operation: 'zones:details' } }, async () => ({
    availabilityZoneInfo: (await listZones()).map(([zoneName, hosts]) => ({
      zoneName,
      zoneState: { available: hosts.some(({ isEnabled }) => isEnabled === 1) },
      hosts: Object.fromEntries(
        hosts.map(({ name, isEnabled, seenAt }) => [
          name,
          {
            'nova-compute': {
              available: cloud.hosts.has(name),
              active: isEnabled === 1,
              updated_at: timestampB(seenAt),
            },
          },
        ]),
      ),
    })),
  }))
}
