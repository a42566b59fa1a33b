import type { Reader, Tx } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { RulePlan } from '../host/host-driver.ts'
import { newId } from '../lib/ids.ts'

/** The group that every project has without making it. */
export const DEFAULT_GROUP = 'default'

const ingress = (protocol: string, port: number | null): RulePlan => ({
  direction: 'ingress',
  ethertype: 'IPv4',
  protocol,
  portRangeMin: port,
  portRangeMax: port,
  remoteIpPrefix: null,
  remoteGroupId: null,
})

/** What a new group allows: everything out; ping, ssh and web in. Source: shared/spec/uos-network.md, section 4. */
const FIRST_RULES: RulePlan[] = [
  {
    direction: 'egress',
    ethertype: 'IPv4',
    protocol: null,
    portRangeMin: null,
    portRangeMax: null,
    remoteIpPrefix: null,
    remoteGroupId: null,
  },
  ingress('icmp', null),
  ingress('tcp', 22),
  ingress('tcp', 80),
  ingress('tcp', 443),
]

/** The project's `default` group, made on the first look. */
export async function ensureDefaultGroup(
  tx: Tx,
  projectId: string,
  now: number,
): Promise<Pick<Row<'securityGroups'>, 'id' | 'name'>> {
  const find = () =>
    tx
      .selectFrom('securityGroups')
      .selectAll()
      .where('projectId', '=', projectId)
      .where('name', '=', DEFAULT_GROUP)
      .executeTakeFirst()
  const existing = await find()
  if (existing) return existing
  const group = {
    id: newId(),
    projectId,
    name: DEFAULT_GROUP,
    description: 'Default security group',
    createdAt: now,
    updatedAt: now,
  }
  const { numInsertedOrUpdatedRows } = await tx
    .insertInto('securityGroups')
    .values(group)
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirstOrThrow()
  if (numInsertedOrUpdatedRows !== 1n) {
    const winner = await find()
    if (winner) return winner
  }
  await tx
    .insertInto('securityGroupRules')
    .values(
      FIRST_RULES.map((rule) => ({ id: newId(), securityGroupId: group.id, createdAt: now, updatedAt: now, ...rule })),
    )
    .execute()
  return group
}

/** Groups of the project with this name or id; several when a name is used twice. */
export async function listGroupsNamed(
  read: Reader,
  projectId: string,
  nameOrId: string,
): Promise<Row<'securityGroups'>[]> {
  return read
    .selectFrom('securityGroups')
    .selectAll()
    .where('projectId', '=', projectId)
    .where((where) => where.or([where('name', '=', nameOrId), where('id', '=', nameOrId)]))
    .execute()
}
