import type { Schema } from '../../src/db/schema.ts'
import type { TestCloud } from './test-cloud.ts'

/** Every table; a new one does not compile until it is here. */
export const TABLES = Object.keys({
  domains: 0,
  projects: 0,
  users: 0,
  roles: 0,
  roleAssignments: 0,
  tokens: 0,
  flavors: 0,
  keypairs: 0,
  images: 0,
  imageMembers: 0,
  volumeTypes: 0,
  volumeTypeAccess: 0,
  volumes: 0,
  volumeSnapshots: 0,
  volumeTransfers: 0,
  volumeQuotas: 0,
  blockDevices: 0,
  networks: 0,
  subnets: 0,
  ports: 0,
  portAddresses: 0,
  securityGroups: 0,
  securityGroupRules: 0,
  portSecurityGroups: 0,
  routers: 0,
  floatingIps: 0,
  portForwardings: 0,
  tags: 0,
  networkQuotas: 0,
  hosts: 0,
  claims: 0,
  counters: 0,
  servers: 0,
  serverKeypairs: 0,
  actions: 0,
  actionEvents: 0,
  consoleTokens: 0,
  idempotentAnswers: 0,
} satisfies Record<keyof Schema, 0>) as (keyof Schema)[]

/** How many rows each table has: what a refused request must not change. */
export async function countRows(cloud: TestCloud): Promise<Record<string, number>> {
  const counts = await Promise.all(
    TABLES.map(async (table) => {
      const { count } = await cloud.cloud.db.read
        .selectFrom(table)
        .select(({ fn }) => fn.countAll<number>().as('count'))
        .executeTakeFirstOrThrow()
      return [table, Number(count)] as const
    }),
  )
  return Object.fromEntries(counts)
}
