import type { Cloud } from '../cloud.ts'
import type { Reader, Tx } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { RulePlan } from '../host/host-driver.ts'
import type { Caller } from '../http/policy.ts'
import { newId } from '../lib/ids.ts'
import { networkError } from '../network-api/network-errors.ts'
import { assertNetworkQuota } from '../network-api/network-quotas.ts'
import { protocolNumber, spellings } from './protocols.ts'
import { type RuleWish, readRule, samePrefixes } from './rule-wish.ts'
import { updateGroup } from './security-group-store.ts'

type Parts = Pick<Cloud, 'networkChanges'>

/**
 * Adds a rule to a group of the caller's project (of any, for an admin); hosts follow after the commit.
 * @returns its id.
 * @throws ApiError as `readRule`; SecurityGroupNotFound for the group or the remote one; OverQuota;
 * SecurityGroupRuleExists.
 */
export async function createRule(
  { networkChanges }: Parts,
  tx: Tx,
  caller: Pick<Caller, 'projectId' | 'isAdmin'>,
  wish: RuleWish & { security_group_id: string },
  now: number,
): Promise<string> {
  const rule = readRule(wish)
  const group = await findVisibleGroup(tx, caller, wish.security_group_id)
  if (rule.remoteGroupId !== null) await findVisibleGroup(tx, caller, rule.remoteGroupId)
  // First, so that a twin at the same time waits here.
  await updateGroup(tx, group.id, {}, now)
  await assertNetworkQuota(tx, group.projectId, 'security_group_rule')
  const twin = await findTwin(tx, group.id, rule)
  if (twin) throw networkError('SecurityGroupRuleExists', `Security group rule already exists. Rule id is ${twin.id}.`)
  const id = newId()
  await tx
    .insertInto('securityGroupRules')
    .values({
      id,
      securityGroupId: group.id,
      description: wish.description ?? '',
      createdAt: now,
      updatedAt: now,
      ...rule,
    })
    .execute()
  networkChanges.note(tx, { kind: 'securityGroup', id: group.id })
  return id
}

/** Takes a rule from its group; hosts follow after the commit. */
export async function deleteRule(
  { networkChanges }: Parts,
  tx: Tx,
  { id, securityGroupId }: Pick<Row<'securityGroupRules'>, 'id' | 'securityGroupId'>,
  now: number,
): Promise<void> {
  await updateGroup(tx, securityGroupId, {}, now)
  await tx.deleteFrom('securityGroupRules').where('id', '=', id).execute()
  networkChanges.note(tx, { kind: 'securityGroup', id: securityGroupId })
}

async function findVisibleGroup(
  read: Reader,
  caller: Pick<Caller, 'projectId' | 'isAdmin'>,
  id: string,
): Promise<Pick<Row<'securityGroups'>, 'id' | 'projectId'>> {
  const group = await read
    .selectFrom('securityGroups')
    .select(['id', 'projectId'])
    .where('id', '=', id)
    .executeTakeFirst()
  if (group && (group.projectId === caller.projectId || caller.isAdmin)) return group
  throw networkError('SecurityGroupNotFound', `Security group ${id} could not be found.`)
}

/** A rule of the group that allows the same, however it was written. */
async function findTwin(read: Reader, groupId: string, rule: RulePlan): Promise<{ id: string } | undefined> {
  const prefixes = samePrefixes(rule.remoteIpPrefix)
  const texts = prefixes.filter((prefix) => prefix !== null)
  const protocols = rule.protocol === null ? [] : spellings(protocolNumber(rule.protocol) ?? -1)
  return read
    .selectFrom('securityGroupRules')
    .select('id')
    .where('securityGroupId', '=', groupId)
    .where('direction', '=', rule.direction)
    .where('ethertype', '=', rule.ethertype)
    .where((where) =>
      where.or([
        where('remoteIpPrefix', 'in', texts),
        ...(prefixes.includes(null) ? [where('remoteIpPrefix', 'is', null)] : []),
      ]),
    )
    .where((where) => (protocols.length > 0 ? where('protocol', 'in', protocols) : where('protocol', 'is', null)))
    .where('portRangeMin', rule.portRangeMin === null ? 'is' : '=', rule.portRangeMin)
    .where('portRangeMax', rule.portRangeMax === null ? 'is' : '=', rule.portRangeMax)
    .where('remoteGroupId', rule.remoteGroupId === null ? 'is' : '=', rule.remoteGroupId)
    .executeTakeFirst()
}
