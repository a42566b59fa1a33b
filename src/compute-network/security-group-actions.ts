/** `addSecurityGroup` and `removeSecurityGroup`: a group for all cards of a server. */
import { type TSchema, Type } from 'typebox'
import type { Tx } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { ApiError } from '../http/api-error.ts'
import { listPortsOfServer } from '../ports/port-store.ts'
import { DEFAULT_GROUP, ensureDefaultGroup, listGroupsNamed } from '../security-groups/security-group-store.ts'
import { type ActionCall, type ActionRow, row } from '../servers/action-row.ts'
import { getServer } from '../servers/server-store.ts'

const Body = Type.Object({ name: Type.String({ minLength: 1, maxLength: 255, description: 'or its id' }) })
type Call = ActionCall<{ name: string }>

/** Rows of the table of server actions. Source: shared/spec/nova-v21.md §5. */
export const SECURITY_GROUP_ROWS: Record<'addSecurityGroup' | 'removeSecurityGroup', ActionRow> = {
  addSecurityGroup: row<TSchema, { name: string }>(Body, 'network:write', 202, (call) =>
    call.cloud.db.transaction((tx) => addSecurityGroup(call, tx)),
  ),
  removeSecurityGroup: row<TSchema, { name: string }>(Body, 'network:write', 202, (call) =>
    call.cloud.db.transaction((tx) => removeSecurityGroup(call, tx)),
  ),
}

/**
 * Puts all filtered ports of the server into the group; does nothing for those that are in it.
 * @throws ApiError itemNotFound for the server or the group; conflictingRequest for an ambiguous name; badRequest when
 * the server has no port that is filtered.
 */
async function addSecurityGroup({ cloud, caller, serverId, body }: Call, tx: Tx): Promise<void> {
  const { networkChanges, clock } = cloud
  const server = await getServer(tx, caller, serverId)
  if (body.name === DEFAULT_GROUP) await ensureDefaultGroup(cloud, tx, server.projectId, clock.now())
  const group = await getGroupNamed(tx, server, body.name)
  const ports = (await listPortsOfServer(tx, serverId)).filter((port) => port.hasPortSecurity === 1)
  if (ports.length === 0) {
    throw new ApiError('badRequest', `Instance ${serverId} has no port that a security group could apply to.`)
  }
  for (const { id: portId } of ports) {
    const { numInsertedOrUpdatedRows } = await tx
      .insertInto('portSecurityGroups')
      .values({ portId, securityGroupId: group.id })
      .onConflict((conflict) => conflict.doNothing())
      .executeTakeFirstOrThrow()
    if (numInsertedOrUpdatedRows !== 1n) continue
    await touchPort(tx, portId, clock.now())
    networkChanges.note(tx, { kind: 'port', id: portId })
  }
}

/**
 * Takes all ports of the server out of the group.
 * @throws ApiError itemNotFound for the server, for the group, or when no port is in it; conflictingRequest for an
 * ambiguous name.
 */
async function removeSecurityGroup({ cloud, caller, serverId, body }: Call, tx: Tx): Promise<void> {
  const { networkChanges, clock } = cloud
  const server = await getServer(tx, caller, serverId)
  const group = await getGroupNamed(tx, server, body.name)
  const members = await tx
    .selectFrom('portSecurityGroups')
    .innerJoin('ports', 'ports.id', 'portSecurityGroups.portId')
    .select('portSecurityGroups.portId')
    .where('ports.deviceId', '=', serverId)
    .where('portSecurityGroups.securityGroupId', '=', group.id)
    .execute()
  if (members.length === 0) {
    throw new ApiError('itemNotFound', `Security group ${body.name} is not associated with instance ${serverId}.`)
  }
  for (const { portId } of members) {
    await networkChanges.noteLeaving(tx, { kind: 'port', id: portId })
    await tx
      .deleteFrom('portSecurityGroups')
      .where('portId', '=', portId)
      .where('securityGroupId', '=', group.id)
      .execute()
    await touchPort(tx, portId, clock.now())
  }
}

async function getGroupNamed(
  tx: Tx,
  { projectId }: Pick<Row<'servers'>, 'projectId'>,
  name: string,
): Promise<Row<'securityGroups'>> {
  const [group, another] = await listGroupsNamed(tx, projectId, name)
  if (!group) throw new ApiError('itemNotFound', `Security group ${name} could not be found.`)
  if (another) throw new ApiError('conflictingRequest', `Several security groups are named ${name}; use an id.`)
  return group
}

async function touchPort(tx: Tx, id: string, now: number): Promise<void> {
  await tx
    .updateTable('ports')
    .set((eb) => ({ revision: eb('revision', '+', 1), updatedAt: now }))
    .where('id', '=', id)
    .execute()
}
