/** Security groups as callers of compute know them: with the rules for what comes in, and the names of remote groups. */
import type { Reader } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { ApiError } from '../http/api-error.ts'
import type { Caller } from '../http/policy.ts'

/** A rule for what comes in; the remote group's name and owner when it names one. */
export interface ShownRule extends Row<'securityGroupRules'> {
  remoteName: string | null
  remoteProjectId: string | null
}

export interface ShownGroup extends Row<'securityGroups'> {
  rules: ShownRule[]
}

/** The project's groups, oldest first. */
export async function listGroups(read: Reader, projectId: string): Promise<ShownGroup[]> {
  const groups = await read
    .selectFrom('securityGroups')
    .selectAll()
    .where('projectId', '=', projectId)
    .orderBy('createdAt')
    .orderBy('id')
    .execute()
  return withRules(read, groups)
}

/** The groups of a server's ports, each once, by name. */
export async function listGroupsOfServer(read: Reader, serverId: string): Promise<ShownGroup[]> {
  const groups = await read
    .selectFrom('ports')
    .innerJoin('portSecurityGroups', 'portSecurityGroups.portId', 'ports.id')
    .innerJoin('securityGroups', 'securityGroups.id', 'portSecurityGroups.securityGroupId')
    .selectAll('securityGroups')
    .distinct()
    .where('ports.deviceId', '=', serverId)
    .orderBy('securityGroups.name')
    .orderBy('securityGroups.id')
    .execute()
  return withRules(read, groups)
}

/**
 * A group of the caller's project, or of any for an admin.
 * @throws ApiError itemNotFound.
 */
export async function getGroup(read: Reader, caller: Caller, id: string): Promise<ShownGroup> {
  const rows = await read.selectFrom('securityGroups').selectAll().where('id', '=', id).execute()
  const [group] = await withRules(read, rows)
  if (group && (group.projectId === caller.projectId || caller.isAdmin)) return group
  throw new ApiError('itemNotFound', `Security group ${id} could not be found.`)
}

/**
 * A rule for what comes in, of a group of the caller's project, or of any for an admin.
 * @throws ApiError itemNotFound.
 */
export async function getRule(read: Reader, caller: Caller, id: string): Promise<ShownRule> {
  const [rule] = await rules(read).where('securityGroupRules.id', '=', id).execute()
  const owner = await read
    .selectFrom('securityGroups')
    .select('projectId')
    .where('id', '=', rule?.securityGroupId ?? '')
    .executeTakeFirst()
  if (rule && (owner?.projectId === caller.projectId || caller.isAdmin)) return rule
  throw new ApiError('itemNotFound', `Security group rule ${id} could not be found.`)
}

async function withRules(read: Reader, groups: Row<'securityGroups'>[]): Promise<ShownGroup[]> {
  if (groups.length === 0) return []
  const ids = groups.map(({ id }) => id)
  const rows = await rules(read).where('securityGroupRules.securityGroupId', 'in', ids).execute()
  const byGroup = Map.groupBy(rows, ({ securityGroupId }) => securityGroupId)
  return groups.map((group) => ({ ...group, rules: byGroup.get(group.id) ?? [] }))
}

function rules(read: Reader) {
  return read
    .selectFrom('securityGroupRules')
    .leftJoin('securityGroups as remotes', 'remotes.id', 'securityGroupRules.remoteGroupId')
    .selectAll('securityGroupRules')
    .select(['remotes.name as remoteName', 'remotes.projectId as remoteProjectId'])
    .where('securityGroupRules.direction', '=', 'ingress')
    .orderBy('securityGroupRules.createdAt')
    .orderBy('securityGroupRules.id')
}
