import type { Reader, Tx } from '../db/database.ts'
import { newHexId, newPassword } from '../lib/ids.ts'
import { hashPassword } from './password-hash.ts'

/** The domain that every client knows, and what it is called. */
export const DEFAULT_DOMAIN = { id: 'default', name: 'Default' }

const ROLES = ['admin', 'member', 'reader'] as const
/** Each has a project of its own name, which is the default one, and this role there. */
const USERS = [
  { name: 'admin', role: 'admin', description: 'Those who run this cloud' },
  { name: 'demo', role: 'member', description: 'A first project to try things in' },
] as const

type UserName = (typeof USERS)[number]['name']

/** The secrets of a fresh cloud, and what takes time to make and must not be made inside a transaction. */
export interface IdentitySeed {
  adminPassword: string
  demoPassword: string
  passwordHashes: Record<UserName, string>
}

/** Ids of what was seeded, for whatever is seeded next. */
export interface SeededIdentity {
  adminUserId: string
  adminProjectId: string
  demoUserId: string
  demoProjectId: string
}

/**
 * Random passwords and their hashes, at twice the cost of a login; undefined when identity is seeded already.
 * @param log2N the cost of the hashes, for tests that make many clouds.
 */
export async function prepareSeed(read: Reader, log2N?: number): Promise<IdentitySeed | undefined> {
  if (await read.selectFrom('domains').select('id').limit(1).executeTakeFirst()) return undefined
  const [adminPassword, demoPassword] = [newPassword(), newPassword()]
  const [admin, demo] = await Promise.all([hashPassword(adminPassword, log2N), hashPassword(demoPassword, log2N)])
  return { adminPassword, demoPassword, passwordHashes: { admin, demo } }
}

/**
 * Makes the domain `Default`, the roles, and the projects and users `admin` and `demo`.
 * @returns undefined, with nothing changed, when the domain is there already, by another process just now.
 */
export async function seedIdentity(tx: Tx, seed: IdentitySeed, now: number): Promise<SeededIdentity | undefined> {
  const domain = await tx
    .insertInto('domains')
    .values({ ...DEFAULT_DOMAIN, isEnabled: 1 })
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirst()
  if (domain.numInsertedOrUpdatedRows === 0n) return undefined

  const roleIds = Object.fromEntries(ROLES.map((name) => [name, newHexId()])) as Record<(typeof ROLES)[number], string>
  await tx
    .insertInto('roles')
    .values(ROLES.map((name) => ({ id: roleIds[name], name })))
    .execute()
  const made = {} as Record<UserName, { userId: string; projectId: string }>
  for (const { name, role, description } of USERS) {
    const [userId, projectId] = [newHexId(), newHexId()]
    const domainId = DEFAULT_DOMAIN.id
    await tx.insertInto('projects').values({ id: projectId, domainId, name, description, isEnabled: 1 }).execute()
    await tx
      .insertInto('users')
      .values({
        id: userId,
        domainId,
        name,
        passwordHash: seed.passwordHashes[name],
        defaultProjectId: projectId,
        isEnabled: 1,
        createdAt: now,
      })
      .execute()
    await tx.insertInto('roleAssignments').values({ userId, projectId, roleId: roleIds[role] }).execute()
    made[name] = { userId, projectId }
  }
  return {
    adminUserId: made.admin.userId,
    adminProjectId: made.admin.projectId,
    demoUserId: made.demo.userId,
    demoProjectId: made.demo.projectId,
  }
}
