import type { Row } from '../db/schema.ts'
import type { Shown } from '../network-api/list-query.ts'
import { standardMembers, uosCreatedAt } from '../network-api/standard-members.ts'
import { ruleView, type ShownRule, uosRuleView } from './rule-view.ts'

/** A group with what its views tell besides its row. */
export interface ShownGroup extends Row<'securityGroups'> {
  rules: ShownRule[]
  tags: string[]
}

/** As Neutron shows it. Source: shared/spec/neighbours.md §4. */
export const groupView = (group: ShownGroup): Shown => ({
  ...standardMembers(group),
  name: group.name,
  stateful: group.isStateful === 1,
  shared: false,
  security_group_rules: group.rules.map(ruleView),
})

/** As UOS shows it. Source: shared/spec/uos-network.md §3. */
export const uosGroupView = (group: ShownGroup, isCreated: boolean): Shown => ({
  id: group.id,
  name: group.name,
  description: group.description,
  tenant_id: group.projectId,
  security_group_rules: group.rules.map(uosRuleView),
  ...uosCreatedAt(group, isCreated),
})
