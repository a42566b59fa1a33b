import { Type } from 'typebox'
import type { Cloud } from '../cloud.ts'
import { ApiError } from '../http/api-error.ts'
import type { App } from '../http/app.ts'
import { NOVA } from '../http/dialect.ts'
import { countNetworkUse, readNetworkQuotas } from '../network-api/network-quotas.ts'
import { MOST_FILE_BYTES, MOST_FILES } from '../servers/config-drive.ts'
import { readUsage } from '../servers/server-store.ts'

const Query = Type.Object({ tenant_id: Type.Optional(Type.String()) })

/** How much a project may have, and has. Source: shared/spec/nova-v21.md, section 6. */
export function limitsRoutes(app: App, cloud: Cloud): void {
  const { config } = cloud
  const { read } = cloud.db
  app.get(
    `${NOVA.base}/limits`,
    { schema: { querystring: Query }, config: { operation: 'limits:read' } },
    async ({ query, caller }) => {
      const projectId = query.tenant_id ?? caller.projectId
      if (projectId !== caller.projectId && !caller.isAdmin) {
        throw new ApiError('forbidden', 'Only admins may read the limits of another project.')
      }
      const used = await readUsage(read, projectId)
      const network = await readNetworkQuotas(read, projectId)
      return {
        limits: {
          rate: [],
          absolute: {
            maxTotalInstances: config.quotaServers,
            maxTotalCores: config.quotaVcpus,
            maxTotalRAMSize: config.quotaRamMib,
            maxTotalKeypairs: config.quotaKeypairs,
            maxServerMeta: config.quotaMetadata,
            maxImageMeta: config.quotaMetadata,
            // There are no groups of servers to be had.
            maxServerGroups: 0,
            maxServerGroupMembers: 0,
            maxPersonality: MOST_FILES,
            maxPersonalitySize: MOST_FILE_BYTES,
            maxTotalFloatingIps: network.floatingip,
            maxSecurityGroups: network.security_group,
            maxSecurityGroupRules: network.security_group_rule,
            totalInstancesUsed: used.servers,
            totalCoresUsed: used.vcpus,
            totalRAMUsed: used.ramMib,
            totalServerGroupsUsed: 0,
            totalFloatingIpsUsed: await countNetworkUse(read, projectId, 'floatingip'),
            totalSecurityGroupsUsed: await countNetworkUse(read, projectId, 'security_group'),
          },
        },
      }
    },
  )
}
