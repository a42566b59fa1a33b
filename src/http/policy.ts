import { ApiError } from './api-error.ts'

/** A role that grants an operation; admin implies member implies reader. */
export type Role = 'admin' | 'member' | 'reader'

/** Who calls, in which project, and what they may. */
export interface Caller {
  userId: string
  projectId: string
  roles: readonly string[]
  isAdmin: boolean
  requestId: string
}

/** `any`: every valid token, scoped to a project or not. */
type Need = Role | 'any'

/** Who may do what. A route names its operation; one that names none is refused when the app is built. */
export const POLICY = {
  'tokens:read': 'any',
  'tokens:revoke': 'any',
  'catalog:read': 'any',
  'flavors:read': 'reader',
  'limits:read': 'reader',
  'zones:read': 'any',
  'zones:details': 'admin',
  'keypairs:read': 'reader',
  'keypairs:write': 'member',
  'images:read': 'any',
  'images:write': 'member',
  'images:publish': 'admin',
  'network:read': 'reader',
  'network:write': 'member',
  'network:admin': 'admin',
  'volumes:read': 'reader',
  'volumes:write': 'member',
  'volumes:admin': 'admin',
  'servers:read': 'reader',
  'servers:create': 'member',
  'servers:update': 'member',
  'servers:delete': 'member',
  'servers:action': 'member',
  'servers:console': 'member',
  'servers:diagnose': 'admin',
} as const satisfies Record<string, Need>

export type Operation = keyof typeof POLICY

const RANK: Record<Role, number> = { reader: 1, member: 2, admin: 3 }

/**
 * Checks that someone with these roles may do it.
 * @throws ApiError forbidden.
 */
export function enforce(operation: Operation, roles: readonly string[], projectId: string | null): void {
  const need: Need = POLICY[operation]
  if (need === 'any') return
  if (projectId === null) {
    throw new ApiError('forbidden', 'This token is not scoped to a project; ask for one with a scope.')
  }
  const rank = Math.max(0, ...roles.map((role) => RANK[role as Role] ?? 0))
  if (rank < RANK[need])
    throw new ApiError('forbidden', `Policy doesn't allow ${operation} with these roles; it needs ${need}.`)
}
