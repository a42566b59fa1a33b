import type { Reader, Tx } from '../db/database.ts'
import { hashSecret } from '../lib/ids.ts'

/** What a token stands for. */
export interface TokenFacts {
  hash: string
  userId: string
  userName: string
  domainId: string
  domainName: string
  projectId: string | null
  /** Role names in the project, implied ones too; empty when unscoped. */
  roles: string[]
  methods: string[]
  auditId: string
  /** Audit id of the first token in the chain; null unless this one was got with another token. */
  parentAuditId: string | null
  issuedAt: number
  expiresAt: number
}

/** How long a token that was read is believed without asking again, in milliseconds: what a revocation by another process may take. */
const BELIEVED_MS = 2_000
const REMEMBERED = 1_000

const IMPLIED: Record<string, string[]> = { admin: ['admin', 'member', 'reader'], member: ['member', 'reader'] }

/** The roles and all that they imply: admin is member, member is reader. */
export const withImplied = (roles: readonly string[]): string[] => [
  ...new Set(roles.flatMap((role) => IMPLIED[role] ?? [role])),
]

/** Reads tokens, and remembers for a moment what it read; revoking through this object forgets at once. */
export class TokenStore {
  readonly #remembered = new Map<string, { facts: TokenFacts; until: number }>()
  /** Moves on when something is forgotten: what was read before that must not be remembered after it. */
  #generation = 0

  /** What the token stands for; undefined when it is unknown, expired or revoked, or its user or project is disabled. */
  async find(read: Reader, token: string, now: number): Promise<TokenFacts | undefined> {
    const hash = hashSecret(token)
    const known = this.#remembered.get(hash)
    if (known && now < known.until && now < known.facts.expiresAt) return known.facts
    const generation = this.#generation
    const facts = await readToken(read, hash, now)
    if (!facts) {
      this.#remembered.delete(hash)
    } else if (generation === this.#generation) {
      if (this.#remembered.size >= REMEMBERED) this.#remembered.clear()
      this.#remembered.set(hash, { facts, until: now + BELIEVED_MS })
    }
    return facts
  }

  /** Revokes one token. */
  async revoke(tx: Tx, hash: string): Promise<void> {
    await tx.deleteFrom('tokens').where('hash', '=', hash).execute()
    tx.onCommit(() => {
      this.#generation++
      this.#remembered.delete(hash)
    })
  }

  /** Forgets what was read: after a change of users, projects or roles. */
  forget(): void {
    this.#generation++
    this.#remembered.clear()
  }
}

/** What the database says of a token, by its hash; undefined as `TokenStore.find` has it. */
export async function readToken(read: Reader, hash: string, now: number): Promise<TokenFacts | undefined> {
  // One row for each role in the project of the token: every request may ask this, so it is one query.
  const rows = await read
    .selectFrom('tokens')
    .innerJoin('users', 'users.id', 'tokens.userId')
    .innerJoin('domains', 'domains.id', 'users.domainId')
    .leftJoin('projects', 'projects.id', 'tokens.projectId')
    .leftJoin('domains as projectDomains', 'projectDomains.id', 'projects.domainId')
    .leftJoin('roleAssignments', (join) =>
      join
        .onRef('roleAssignments.userId', '=', 'tokens.userId')
        .onRef('roleAssignments.projectId', '=', 'tokens.projectId'),
    )
    .leftJoin('roles', 'roles.id', 'roleAssignments.roleId')
    .select([
      'tokens.hash',
      'tokens.userId',
      'users.name as userName',
      'users.domainId',
      'domains.name as domainName',
      'tokens.projectId',
      'projects.isEnabled as isProjectEnabled',
      'projectDomains.isEnabled as isProjectDomainEnabled',
      'roles.name as role',
      'tokens.methods',
      'tokens.auditId',
      'tokens.parentAuditId',
      'tokens.issuedAt',
      'tokens.expiresAt',
    ])
    .where('tokens.hash', '=', hash)
    .where('tokens.expiresAt', '>', now)
    .where('users.isEnabled', '=', 1)
    .where('domains.isEnabled', '=', 1)
    .execute()
  const [row] = rows
  if (!row || row.isProjectEnabled === 0 || row.isProjectDomainEnabled === 0) return undefined
  const roles = withImplied(rows.flatMap((one) => one.role ?? []))
  // A user who lost the last role in the project has lost the scope.
  if (row.projectId !== null && roles.length === 0) return undefined
  const { isProjectEnabled: _, isProjectDomainEnabled: __, role: ___, methods, ...facts } = row
  return { ...facts, roles, methods: JSON.parse(methods) }
}

/** Names of the user's roles in the project, implied ones too; empty when there are none. */
export async function listRoles(read: Reader, userId: string, projectId: string): Promise<string[]> {
  const rows = await read
    .selectFrom('roleAssignments')
    .innerJoin('roles', 'roles.id', 'roleAssignments.roleId')
    .select('roles.name')
    .where('userId', '=', userId)
    .where('projectId', '=', projectId)
    .execute()
  return withImplied(rows.map((row) => row.name))
}
