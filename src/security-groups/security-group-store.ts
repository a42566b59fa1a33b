import type { Cloud } from '../cloud.ts'
import type { Reader, Tx } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { Caller } from '../http/policy.ts'
import { newId } from '../lib/ids.ts'
import { networkError } from '../network-api/network-errors.ts'
import { assertNetworkQuota } from '../network-api/network-quotas.ts'
import { defaultRules } from './default-rules.ts'

/** The group that every project has without making it. */
export const DEFAULT_GROUP = 'default'

export interface NewGroup {
  projectId: string
  name: string
  description?: string | undefined
  /** Default true. */
  isStateful?: boolean | undefined
  /** Epoch milliseconds. */
  now: number
}

/** The project's `default` group, made on the first look. */
export async function ensureDefaultGroup(
  { config }: Pick<Cloud, 'config'>,
  tx: Tx,
  projectId: string,
  now: number,
): Promise<Pick<Row<'securityGroups'>, 'id' | 'name'>> {
  const existing = await findDefaultGroup(tx, projectId)
  if (existing) return existing
  const id = newId()
  const isMade = await insertGroup(tx, id, {
    projectId,
    name: DEFAULT_GROUP,
    description: 'Default security group',
    now,
  })
  const winner = isMade ? undefined : await findDefaultGroup(tx, projectId)
  if (winner) return winner
  await insertDefaultRules(tx, config.defaultRules, { id, isDefault: true }, now)
  return { id, name: DEFAULT_GROUP }
}

/** Makes the caller's project its `default` group, for whoever is about to look; a read as soon as it is there. */
export async function prepareDefaultGroup(cloud: Cloud, { projectId }: Pick<Caller, 'projectId'>): Promise<void> {
  if (await findDefaultGroup(cloud.db.read, projectId)) return
  await cloud.db.transaction((tx) => ensureDefaultGroup(cloud, tx, projectId, cloud.clock.now()))
}

/** The project's `default` group, when anybody looked for it before. */
export async function findDefaultGroup(
  read: Reader,
  projectId: string,
): Promise<Pick<Row<'securityGroups'>, 'id' | 'name'> | undefined> {
  return read
    .selectFrom('securityGroups')
    .select(['id', 'name'])
    .where('projectId', '=', projectId)
    .where('name', '=', DEFAULT_GROUP)
    .executeTakeFirst()
}

/**
 * Makes a group with the default rules.
 * @returns its id.
 * @throws ApiError OverQuota; SecurityGroupDefaultAlreadyExists for another `default`.
 */
export async function createGroup({ config }: Pick<Cloud, 'config'>, tx: Tx, group: NewGroup): Promise<string> {
  await ensureDefaultGroup({ config }, tx, group.projectId, group.now)
  if (group.name === DEFAULT_GROUP) {
    throw networkError('SecurityGroupDefaultAlreadyExists', 'The project has a group default already.')
  }
  await assertNetworkQuota(tx, group.projectId, 'security_group')
  const id = newId()
  await insertGroup(tx, id, group)
  await insertDefaultRules(tx, config.defaultRules, { id, isDefault: false }, group.now)
  return id
}

/** Writes to a group, or only says that it (or its rules) changed. */
export async function updateGroup(
  tx: Tx,
  id: string,
  change: { name?: string; description?: string; isStateful?: 0 | 1 },
  now: number,
): Promise<void> {
  await tx
    .updateTable('securityGroups')
    .set((eb) => ({ ...change, revision: eb('revision', '+', 1), updatedAt: now }))
    .where('id', '=', id)
    .execute()
}

/**
 * Deletes a group, its rules, and the rules of others that name it as remote.
 * @throws ApiError SecurityGroupInUse; SecurityGroupCannotRemoveDefault unless an admin does it.
 */
export async function deleteGroup(
  { networkChanges }: Pick<Cloud, 'networkChanges'>,
  tx: Tx,
  group: Pick<Row<'securityGroups'>, 'id' | 'name'>,
  caller: Pick<Caller, 'isAdmin'>,
): Promise<void> {
  const { id, name } = group
  if (name === DEFAULT_GROUP && !caller.isAdmin) {
    throw networkError('SecurityGroupCannotRemoveDefault', 'The group default cannot be deleted.')
  }
  const port = await tx
    .selectFrom('portSecurityGroups')
    .select('portId')
    .where('securityGroupId', '=', id)
    .executeTakeFirst()
  if (port) throw networkError('SecurityGroupInUse', `Security group ${id} is in use.`)
  await networkChanges.noteLeaving(tx, { kind: 'securityGroup', id })
  await tx.deleteFrom('securityGroupRules').where('remoteGroupId', '=', id).execute()
  await tx.deleteFrom('securityGroups').where('id', '=', id).execute()
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

/** False when the project's `default` group was made meanwhile. */
async function insertGroup(tx: Tx, id: string, group: NewGroup): Promise<boolean> {
  const { projectId, name, description = '', isStateful = true, now } = group
  const { numInsertedOrUpdatedRows } = await tx
    .insertInto('securityGroups')
    .values({ id, projectId, name, description, isStateful: isStateful ? 1 : 0, createdAt: now, updatedAt: now })
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirstOrThrow()
  return numInsertedOrUpdatedRows === 1n
}

async function insertDefaultRules(
  tx: Tx,
  kind: Cloud['config']['defaultRules'],
  group: { id: string; isDefault: boolean },
  now: number,
): Promise<void> {
  const rules = defaultRules(kind, group)
  await tx
    .insertInto('securityGroupRules')
    .values(rules.map((one) => ({ id: newId(), securityGroupId: group.id, createdAt: now, updatedAt: now, ...one })))
    .execute()
}
