import { Type } from 'typebox'

const Nullable = Type.Union([Type.String(), Type.Null()])
const Name = Type.String({ minLength: 1, maxLength: 255 })
const Description = Type.Optional(Type.Union([Type.String({ maxLength: 255 }), Type.Null()]))

/** Body of `POST /os-security-groups` and of `PUT /os-security-groups/{id}`. */
export const SecurityGroupRequest = Type.Object({
  security_group: Type.Object({ name: Name, description: Description }),
})

/** A number, also as digits. */
const Port = Type.Optional(
  Type.Union([
    Type.Integer({ minimum: -1, maximum: 65_535 }),
    Type.String({ pattern: '^(-1|[0-9]{1,5})$' }),
    Type.Null(),
  ]),
)
const Text = Type.Optional(Type.Union([Type.String({ maxLength: 255 }), Type.Null()]))

/** Body of `POST /os-security-group-rules`: what comes in, from a block of addresses or from another group. */
export const RuleRequest = Type.Object({
  security_group_rule: Type.Object({
    parent_group_id: Type.String({ maxLength: 36 }),
    ip_protocol: Text,
    from_port: Port,
    to_port: Port,
    cidr: Text,
    group_id: Text,
  }),
})

const Rule = Type.Object({
  id: Type.String(),
  parent_group_id: Type.String(),
  ip_protocol: Nullable,
  from_port: Type.Union([Type.Integer(), Type.Null()]),
  to_port: Type.Union([Type.Integer(), Type.Null()]),
  ip_range: Type.Object({ cidr: Type.Optional(Type.String()) }),
  group: Type.Object({ name: Type.Optional(Type.String()), tenant_id: Type.Optional(Type.String()) }),
})
const Group = Type.Object({
  id: Type.String(),
  name: Type.String(),
  description: Type.String(),
  tenant_id: Type.String(),
  rules: Type.Array(Rule),
})
export const SecurityGroupAnswer = Type.Object({ security_group: Group })
export const SecurityGroupListAnswer = Type.Object({ security_groups: Type.Array(Group) })
export const RuleAnswer = Type.Object({ security_group_rule: Rule })
export const SecurityGroupPath = Type.Object({ projectId: Type.String(), groupId: Type.String() })
export const RulePath = Type.Object({ projectId: Type.String(), ruleId: Type.String() })
export const ServerPath = Type.Object({ projectId: Type.String(), serverId: Type.String() })
