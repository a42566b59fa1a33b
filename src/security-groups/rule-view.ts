import type { Row } from '../db/schema.ts'
import type { Shown } from '../network-api/list-query.ts'
import { standardMembers } from '../network-api/standard-members.ts'
import { normalizedCidr } from './rule-wish.ts'

/** A rule with what its views tell besides its row: the project is its group's. */
export interface ShownRule extends Row<'securityGroupRules'> {
  projectId: string
  tags: string[]
}

/** As Neutron shows it. Source: shared/spec/neighbours.md §4. */
export function ruleView(rule: ShownRule): Shown {
  const { remoteIpPrefix } = rule
  return {
    ...standardMembers(rule),
    ...plainRule(rule),
    // An address alone is shown as the block that it means.
    remote_ip_prefix: remoteIpPrefix?.includes('/') === false ? normalizedCidr(remoteIpPrefix) : remoteIpPrefix,
    normalized_cidr: remoteIpPrefix === null ? null : normalizedCidr(remoteIpPrefix),
    remote_address_group_id: null,
  }
}

/** As UOS shows it. Source: shared/spec/uos-network.md §3. */
export const uosRuleView = (rule: ShownRule): Shown => ({
  id: rule.id,
  tenant_id: rule.projectId,
  ...plainRule(rule),
})

const plainRule = (rule: ShownRule) => ({
  security_group_id: rule.securityGroupId,
  direction: rule.direction,
  ethertype: rule.ethertype,
  protocol: rule.protocol,
  port_range_min: rule.portRangeMin,
  port_range_max: rule.portRangeMax,
  remote_ip_prefix: rule.remoteIpPrefix,
  remote_group_id: rule.remoteGroupId,
})
