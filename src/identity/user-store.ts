import type { Reader } from '../db/database.ts'

/** A domain as a request names it: by id, or by name. */
export type DomainRef = { id: string } | { name: string }

/** A user or a project as a request names it: by id, or by name within a domain. */
export type Ref = { id: string } | { name: string; domain: DomainRef }

export interface KnownUser {
  id: string
  passwordHash: string
  defaultProjectId: string | null
  /** Whether both the user and the domain are enabled. */
  isEnabled: boolean
}

export interface KnownProject {
  id: string
  name: string
  description: string
  domainId: string
  domainName: string
  /** Whether both the project and the domain are enabled. */
  isEnabled: boolean
}

/** The user, disabled or not; undefined when there is none. */
export async function findUser(read: Reader, ref: Ref): Promise<KnownUser | undefined> {
  const row = await read
    .selectFrom('users')
    .innerJoin('domains', 'domains.id', 'users.domainId')
    .select(['users.id', 'passwordHash', 'defaultProjectId', 'users.isEnabled', 'domains.isEnabled as isDomainEnabled'])
    .where((where) =>
      'id' in ref
        ? where('users.id', '=', ref.id)
        : where.and([
            where('users.name', '=', ref.name),
            'id' in ref.domain ? where('domains.id', '=', ref.domain.id) : where('domains.name', '=', ref.domain.name),
          ]),
    )
    .executeTakeFirst()
  if (!row) return undefined
  const { isDomainEnabled, isEnabled, ...user } = row
  return { ...user, isEnabled: isEnabled === 1 && isDomainEnabled === 1 }
}

/** The project, disabled or not; undefined when there is none. */
export async function findProject(read: Reader, ref: Ref): Promise<KnownProject | undefined> {
  const row = await selectProjects(read)
    .where((where) =>
      'id' in ref
        ? where('projects.id', '=', ref.id)
        : where.and([
            where('projects.name', '=', ref.name),
            'id' in ref.domain ? where('domains.id', '=', ref.domain.id) : where('domains.name', '=', ref.domain.name),
          ]),
    )
    .executeTakeFirst()
  return row && knownProject(row)
}

/** The enabled projects in which the user has a role, sorted by name. */
export async function listProjectsOf(read: Reader, userId: string): Promise<KnownProject[]> {
  const rows = await selectProjects(read)
    .where('projects.isEnabled', '=', 1)
    .where('domains.isEnabled', '=', 1)
    .where('projects.id', 'in', (sub) =>
      sub.selectFrom('roleAssignments').select('projectId').where('userId', '=', userId),
    )
    .orderBy('projects.name')
    .orderBy('projects.id')
    .execute()
  return rows.map(knownProject)
}

/** Id and name of roles, in the order of the names; those that do not exist are left out. */
export async function listRolesByName(read: Reader, names: readonly string[]): Promise<{ id: string; name: string }[]> {
  if (names.length === 0) return []
  const rows = await read
    .selectFrom('roles')
    .select(['id', 'name'])
    .where('name', 'in', [...names])
    .execute()
  return rows.sort((a, b) => names.indexOf(a.name) - names.indexOf(b.name))
}

const selectProjects = (read: Reader) =>
  read
    .selectFrom('projects')
    .innerJoin('domains', 'domains.id', 'projects.domainId')
    .select([
      'projects.id',
      'projects.name',
      'projects.description',
      'projects.domainId',
      'domains.name as domainName',
      'projects.isEnabled',
      'domains.isEnabled as isDomainEnabled',
    ])

type ProjectRow = Awaited<ReturnType<ReturnType<typeof selectProjects>['execute']>>[number]

function knownProject({ isEnabled, isDomainEnabled, ...project }: ProjectRow): KnownProject {
  return { ...project, isEnabled: isEnabled === 1 && isDomainEnabled === 1 }
}
