import type { Cloud } from '../cloud.ts'
import { limitsOf } from '../scheduler/pick-host.ts'
import { statusOf } from '../servers/server-state.ts'

/** The gauges whose values are read from the database when somebody looks. */
export function addGauges({ db, config, metrics }: Pick<Cloud, 'db' | 'config' | 'metrics'>): void {
  metrics.gauge('novella_servers', 'Servers by status.', ['status'], async () => {
    const rows = await db.read
      .selectFrom('servers')
      .select(({ fn }) => ['vmState', 'taskState', fn.countAll<number>().as('count')])
      .where('deletedAt', 'is', null)
      .groupBy(['vmState', 'taskState'])
      .execute()
    const byStatus = new Map<string, number>()
    for (const { vmState, taskState, count } of rows) {
      const status = statusOf(vmState, taskState)
      byStatus.set(status, (byStatus.get(status) ?? 0) + Number(count))
    }
    return [...byStatus].map(([status, value]) => ({ labels: { status }, value }))
  })

  metrics.gauge(
    'novella_host_capacity',
    'What a host may give out and what servers have of it, by host, resource (vcpus, ram_mib, disk_gib) and kind (limit, claimed).',
    ['host', 'resource', 'kind'],
    async () => {
      const ratios = { cpu: config.cpuRatio, ram: config.ramRatio, disk: config.diskRatio }
      const hosts = await db.read.selectFrom('hosts').selectAll().execute()
      return hosts.flatMap((host) => {
        const limits = limitsOf(host, ratios)
        const value = (resource: string, kind: string, amount: number) => ({
          labels: { host: host.name, resource, kind },
          value: amount,
        })
        return [
          value('vcpus', 'limit', limits.vcpus),
          value('vcpus', 'claimed', host.claimedVcpus),
          value('ram_mib', 'limit', limits.ramMib),
          value('ram_mib', 'claimed', host.claimedRamMib),
          value('disk_gib', 'limit', limits.diskGib),
          value('disk_gib', 'claimed', host.claimedDiskGib),
        ]
      })
    },
  )

  metrics.gauge('novella_actions_open', 'Actions that are accepted and not done, by action.', ['action'], async () => {
    const rows = await db.read
      .selectFrom('actions')
      .select(({ fn }) => ['name', fn.countAll<number>().as('count')])
      .where('isOpen', '=', 1)
      .groupBy('name')
      .execute()
    return rows.map(({ name, count }) => ({ labels: { action: name }, value: Number(count) }))
  })

  metrics.gauge('process_resident_memory_bytes', 'Resident memory of this process.', [], async () => [
    { labels: {} as Record<never, string>, value: process.memoryUsage.rss() },
  ])
}
