import type { Reader } from '../db/database.ts'
import type { Caller } from '../http/policy.ts'
import { readTags } from '../network-api/tag-store.ts'
import type { ShownRule } from './rule-view.ts'

/** Which rules; all that the caller may see without any. */
export interface RulesWanted {
  ids?: readonly string[] | undefined
  groupIds?: readonly string[] | undefined
}

/** The rules of the project's groups (for an admin everybody's), oldest first. */
export async function listRules(
  read: Reader,
  caller: Pick<Caller, 'projectId' | 'isAdmin'>,
  { ids, groupIds }: RulesWanted,
): Promise<ShownRule[]> {
  const rows = await read
    .selectFrom('securityGroupRules')
    .innerJoin('securityGroups', 'securityGroups.id', 'securityGroupRules.securityGroupId')
    .selectAll('securityGroupRules')
    .select('securityGroups.projectId')
    .$if(!caller.isAdmin, (all) => all.where('securityGroups.projectId', '=', caller.projectId))
    .$if(ids !== undefined, (all) => all.where('securityGroupRules.id', 'in', ids ?? []))
    .$if(groupIds !== undefined, (all) => all.where('securityGroupRules.securityGroupId', 'in', groupIds ?? []))
    .orderBy('securityGroupRules.createdAt')
    .orderBy('securityGroupRules.id')
    .execute()
  const tags = await readTags(
    read,
    rows.map(({ id }) => id),
  )
  return rows.map((row) => ({ ...row, tags: tags.get(row.id) ?? [] }))
}
