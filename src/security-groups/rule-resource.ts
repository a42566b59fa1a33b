import { Type } from 'typebox'
import { attribute, integer, nullable, text } from '../network-api/attributes.ts'
import { filterValues } from '../network-api/list-query.ts'
import { resource } from '../network-api/resource.ts'
import { listRules } from './rule-list.ts'
import { createRule, deleteRule } from './rule-store.ts'
import { ruleView, type ShownRule, uosRuleView } from './rule-view.ts'
import { prepareDefaultGroup } from './security-group-store.ts'

const PORT_MAX = 65_535

const attributes = {
  security_group_id: text(36),
  direction: attribute(Type.Union([Type.Literal('ingress'), Type.Literal('egress')])),
  ethertype: nullable(text()),
  protocol: attribute(Type.Union([Type.String({ maxLength: 40 }), Type.Integer(), Type.Null()])),
  port_range_min: nullable(integer(0, PORT_MAX)),
  port_range_max: nullable(integer(0, PORT_MAX)),
  remote_ip_prefix: nullable(text()),
  remote_group_id: nullable(text(36)),
  remote_address_group_id: attribute(Type.Null()),
  description: text(),
}

/** N40 to N43: rules are made and deleted, never changed. */
export const ruleResource = resource({
  singular: 'security_group_rule',
  plural: 'security_group_rules',
  path: 'security-group-rules',
  title: 'Security group rule',
  notFound: 'SecurityGroupRuleNotFound',
  read: 'network:read',
  write: 'network:write',
  prepare: prepareDefaultGroup,
  list: (read, caller, { ids, query = {} }) =>
    listRules(read, caller, {
      ids: ids ?? filterValues(query, 'id'),
      groupIds: filterValues(query, 'security_group_id'),
    }),
  neutronView: ruleView,
  uosView: uosRuleView,
  create: {
    shape: { singular: 'security_group_rule', attributes, required: ['security_group_id', 'direction'] },
    isBulk: true,
    run: ({ cloud, caller, now }, tx, { security_group_id = '', direction = 'ingress', ...wish }) =>
      createRule(cloud, tx, caller, { ...wish, security_group_id, direction }, now),
  },
  remove: ({ cloud, now }, tx, rule: ShownRule) => deleteRule(cloud, tx, rule, now),
})
