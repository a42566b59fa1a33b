import type { ShownGroup, ShownRule } from './shown-security-groups.ts'

/** As `os-security-groups` tells it. Source: shared/spec/nova-v21.md §7. */
export const groupView = (group: ShownGroup) => ({
  id: group.id,
  name: group.name,
  description: group.description,
  tenant_id: group.projectId,
  rules: group.rules.map(ruleView),
})

/** Without a remote end it is open to all; every port and every type is spelt out, since a null would be none. */
export function ruleView(rule: ShownRule) {
  const { min, max } = portsOf(rule)
  const everywhere = rule.ethertype === 'IPv6' ? '::/0' : '0.0.0.0/0'
  return {
    id: rule.id,
    parent_group_id: rule.securityGroupId,
    ip_protocol: rule.protocol,
    from_port: min,
    to_port: max,
    ip_range: rule.remoteGroupId === null ? { cidr: rule.remoteIpPrefix ?? everywhere } : {},
    group:
      rule.remoteName !== null && rule.remoteProjectId !== null
        ? { name: rule.remoteName, tenant_id: rule.remoteProjectId }
        : {},
  }
}

function portsOf({ protocol, portRangeMin, portRangeMax }: ShownRule): { min: number | null; max: number | null } {
  if (protocol === 'icmp') return { min: portRangeMin ?? -1, max: portRangeMax ?? -1 }
  if (portRangeMin === null && (protocol === 'tcp' || protocol === 'udp')) return { min: 1, max: 65_535 }
  return { min: portRangeMin, max: portRangeMax }
}
