import { timestampA, timestampB } from '../http/timestamps.ts'

/** The columns behind what every resource of Neutron tells. */
export interface StandardRow {
  id: string
  projectId: string
  description: string
  createdAt: number
  updatedAt: number
  revision: number
  tags: readonly string[]
}

/** What every resource of Neutron tells, but its name, which some lack. */
export const standardMembers = (row: StandardRow) => ({
  id: row.id,
  tenant_id: row.projectId,
  project_id: row.projectId,
  description: row.description,
  created_at: timestampA(row.createdAt),
  updated_at: timestampA(row.updatedAt),
  revision_number: row.revision,
  tags: [...row.tags],
})

/** `created_at` as UOS tells it, which the answer of most creates lacks. */
export const uosCreatedAt = (row: { createdAt: number }, isCreated: boolean) =>
  isCreated ? {} : { created_at: timestampB(row.createdAt) }
