import type { Reader } from '../db/database.ts'
import type { Caller } from '../http/policy.ts'
import { flag, text } from '../network-api/attributes.ts'
import { filterValues } from '../network-api/list-query.ts'
import { networkError } from '../network-api/network-errors.ts'
import { resource, type Wanted } from '../network-api/resource.ts'
import { readTags } from '../network-api/tag-store.ts'
import { listRules } from './rule-list.ts'
import { createGroup, DEFAULT_GROUP, deleteGroup, prepareDefaultGroup, updateGroup } from './security-group-store.ts'
import { groupView, type ShownGroup, uosGroupView } from './security-group-view.ts'

const attributes = { name: text(), description: text(), stateful: flag() }

/** N36 to N39, and update. */
export const securityGroupResource = resource({
  singular: 'security_group',
  plural: 'security_groups',
  path: 'security-groups',
  title: 'Security group',
  notFound: 'SecurityGroupNotFound',
  read: 'network:read',
  write: 'network:write',
  prepare: prepareDefaultGroup,
  list: listGroups,
  neutronView: groupView,
  uosView: uosGroupView,
  create: {
    shape: { singular: 'security_group', attributes, required: ['name'] },
    isBulk: true,
    async run({ cloud, now }, tx, { name = '', description, stateful }, projectId) {
      assertStateful(stateful)
      return createGroup(cloud, tx, { projectId, name, description, now })
    },
  },
  update: {
    shape: { singular: 'security_group', attributes },
    async run({ now }, tx, group: ShownGroup, { stateful, ...change }) {
      assertStateful(stateful)
      if (change.name !== undefined && change.name !== group.name) {
        if (group.name === DEFAULT_GROUP) {
          throw networkError('SecurityGroupCannotUpdateDefault', 'The group default cannot be renamed.')
        }
        if (change.name === DEFAULT_GROUP) {
          throw networkError('SecurityGroupDefaultAlreadyExists', 'The project has a group default already.')
        }
      }
      await updateGroup(tx, group.id, change, now)
    },
  },
  remove: ({ cloud, caller }, tx, group: ShownGroup) => deleteGroup(cloud, tx, group, caller),
})

/**
 * Hosts follow connections in every group: what would be shown otherwise would not be true.
 * @throws ApiError BadRequest.
 */
function assertStateful(stateful: boolean | undefined): void {
  if (stateful === false) throw networkError('BadRequest', 'Security groups are stateful here; none can be stateless.')
}

/** The project's groups (for an admin everybody's), oldest first, with their rules. */
async function listGroups(read: Reader, caller: Caller, { ids, query = {} }: Wanted): Promise<ShownGroup[]> {
  const wanted = ids ?? filterValues(query, 'id')
  const names = filterValues(query, 'name')
  const rows = await read
    .selectFrom('securityGroups')
    .selectAll()
    .$if(!caller.isAdmin, (all) => all.where('projectId', '=', caller.projectId))
    .$if(wanted !== undefined, (all) => all.where('id', 'in', wanted ?? []))
    .$if(names !== undefined, (all) => all.where('name', 'in', names ?? []))
    .orderBy('createdAt')
    .orderBy('id')
    .execute()
  if (rows.length === 0) return []
  const groupIds = rows.map(({ id }) => id)
  const tags = await readTags(read, groupIds)
  // Few groups are asked for by id; all of them by whose they are, since a question can name only so many ids.
  const isNarrow = wanted !== undefined || names !== undefined
  const rules = await listRules(read, caller, isNarrow && groupIds.length <= 1_000 ? { groupIds } : {})
  const rulesOf = Map.groupBy(rules, ({ securityGroupId }) => securityGroupId)
  return rows.map((row) => ({ ...row, rules: rulesOf.get(row.id) ?? [], tags: tags.get(row.id) ?? [] }))
}
