import type { Cloud } from '../cloud.ts'
import { ApiError } from '../http/api-error.ts'
import type { App } from '../http/app.ts'
import { sendOnce } from '../http/once.ts'
import { createRule, deleteRule } from '../security-groups/rule-store.ts'
import {
  createGroup,
  DEFAULT_GROUP,
  deleteGroup,
  ensureDefaultGroup,
  findDefaultGroup,
  updateGroup,
} from '../security-groups/security-group-store.ts'
import { getServer } from '../servers/server-store.ts'
import { asCompute } from './proxy-error.ts'
import {
  RuleAnswer,
  RulePath,
  RuleRequest,
  SecurityGroupAnswer,
  SecurityGroupListAnswer,
  SecurityGroupPath,
  SecurityGroupRequest,
  ServerPath,
} from './security-group-schema.ts'
import { groupView, ruleView } from './security-group-view.ts'
import { getGroup, getRule, listGroups, listGroupsOfServer } from './shown-security-groups.ts'
import { readNovaRule } from './wished-rule.ts'

const PATH = '/v2/:projectId/os-security-groups'
const RULES = '/v2/:projectId/os-security-group-rules'

/** S29 as compute has it: groups with the rules for what comes in. Source: shared/spec/nova-v21.md §7. */
export function securityGroupProxyRoutes(app: App, cloud: Cloud): void {
  const { db, clock } = cloud

  app.get(
    PATH,
    { schema: { response: { 200: SecurityGroupListAnswer } }, config: { operation: 'network:read' } },
    async ({ caller: { projectId } }) => {
      if (!(await findDefaultGroup(db.read, projectId))) {
        await db.transaction((tx) => ensureDefaultGroup(cloud, tx, projectId, clock.now()))
      }
      return { security_groups: (await listGroups(db.read, projectId)).map(groupView) }
    },
  )

  app.post(
    PATH,
    {
      schema: { body: SecurityGroupRequest, response: { 200: SecurityGroupAnswer } },
      config: { operation: 'network:write' },
    },
    async (request, reply) =>
      sendOnce(cloud, request, reply, 200, async (tx) => {
        const { projectId } = request.caller
        const { name, description } = request.body.security_group
        const wish = { projectId, name: readName(name), description: description ?? '', now: clock.now() }
        const id = await asCompute(createGroup(cloud, tx, wish))
        return { security_group: groupView(await getGroup(tx, request.caller, id)) }
      }),
  )

  app.get(
    `${PATH}/:groupId`,
    {
      schema: { params: SecurityGroupPath, response: { 200: SecurityGroupAnswer } },
      config: { operation: 'network:read' },
    },
    async ({ caller, params }) => ({ security_group: groupView(await getGroup(db.read, caller, params.groupId)) }),
  )

  app.put(
    `${PATH}/:groupId`,
    {
      schema: { params: SecurityGroupPath, body: SecurityGroupRequest, response: { 200: SecurityGroupAnswer } },
      config: { operation: 'network:write' },
    },
    async ({ caller, params, body }) => {
      const { groupId } = params
      const name = readName(body.security_group.name)
      const { description } = body.security_group
      return db.transaction(async (tx) => {
        const group = await getGroup(tx, caller, groupId)
        if (name !== group.name && [name, group.name].includes(DEFAULT_GROUP)) {
          throw new ApiError('badRequest', 'The group default keeps its name, and no other group has it.')
        }
        const change = { name, ...(typeof description === 'string' ? { description } : {}) }
        await asCompute(updateGroup(tx, groupId, change, clock.now()))
        return { security_group: groupView(await getGroup(tx, caller, groupId)) }
      })
    },
  )

  app.delete(
    `${PATH}/:groupId`,
    { schema: { params: SecurityGroupPath }, config: { operation: 'network:write' } },
    async ({ caller, params }, reply) => {
      await db.transaction(async (tx) => {
        const group = await getGroup(tx, caller, params.groupId)
        await asCompute(deleteGroup(cloud, tx, group, caller))
      })
      return reply.code(202).send()
    },
  )

  app.post(
    RULES,
    { schema: { body: RuleRequest, response: { 200: RuleAnswer } }, config: { operation: 'network:write' } },
    async (request, reply) =>
      sendOnce(cloud, request, reply, 200, async (tx) => {
        const { parent_group_id: security_group_id, ...wish } = request.body.security_group_rule
        const rule = { ...readNovaRule(wish), security_group_id }
        const id = await asCompute(createRule(cloud, tx, request.caller, rule, clock.now()))
        return { security_group_rule: ruleView(await getRule(tx, request.caller, id)) }
      }),
  )

  app.delete(
    `${RULES}/:ruleId`,
    { schema: { params: RulePath }, config: { operation: 'network:write' } },
    async ({ caller, params }, reply) => {
      await db.transaction(async (tx) => {
        const rule = await getRule(tx, caller, params.ruleId)
        await asCompute(deleteRule(cloud, tx, rule, clock.now()))
      })
      return reply.code(202).send()
    },
  )

  app.get(
    '/v2/:projectId/servers/:serverId/os-security-groups',
    {
      schema: { params: ServerPath, response: { 200: SecurityGroupListAnswer } },
      config: { operation: 'servers:read' },
    },
    async ({ caller, params }) => {
      await getServer(db.read, caller, params.serverId)
      return { security_groups: (await listGroupsOfServer(db.read, params.serverId)).map(groupView) }
    },
  )
}

/** @throws ApiError badRequest for a name of nothing but spaces. */
function readName(given: string): string {
  const name = given.trim()
  if (name === '') throw new ApiError('badRequest', 'A security group needs a name that is not only spaces.')
  return name
}
