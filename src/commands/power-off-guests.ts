import { openCloud } from '../cloud.ts'
import type { Config } from '../config.ts'
import { openLog } from '../lib/log.ts'
import { syncServers } from '../servers/sync-servers.ts'

/**
 * Powers off every guest of this machine's host, as `os-stop` would, and writes that down. What is open stays open: it
 * goes on at the next start.
 * @returns how many ran.
 */
export async function powerOffGuests(config: Config): Promise<number> {
  const log = openLog('-', 'warn')
  await using cloud = await openCloud(config, { log, isIdle: true })
  let count = 0
  for (const [hostName, host] of cloud.hosts) {
    for (const { serverId, power } of await host.readServers()) {
      if (power !== 'on' && power !== 'paused') continue
      await host.ensureOff(serverId)
      count += 1
    }
    await syncServers(cloud, hostName)
  }
  return count
}
