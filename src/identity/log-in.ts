/**
 * From a proof of who asks to a token.
 *
 *   proof ─ password: throttle → a slot → scrypt ─┐
 *         └ token: still valid ───────────────────┴→ scope → roles → token, in one transaction
 *
 * Every refusal after the request was understood has one text and one time, whatever was wrong: unknown user, wrong
 * password, disabled, unknown project, no role there.
 */
import type { Cloud } from '../cloud.ts'
import type { Reader } from '../db/database.ts'
import { ApiError } from '../http/api-error.ts'
import { hashSecret } from '../lib/ids.ts'
import { type IssuedToken, issueToken, loginRefused } from './issue-token.ts'
import { callerOf } from './login-throttle.ts'
import { verifyPassword } from './password-hash.ts'
import type { AuthWish, PasswordProof, ScopeWish } from './token-request.ts'
import { listRoles, type TokenFacts } from './token-store.ts'
import { findProject, findUser, type KnownUser } from './user-store.ts'

/**
 * Issues the token that a request asks for.
 * @param remoteAddress where the request came from; failures are counted by it.
 * @throws ApiError unauthorized, with one text for all reasons; rateLimited after too many failures, serviceUnavailable
 * when too many log in at once, both with Retry-After.
 */
export async function authenticateWish(cloud: Cloud, wish: AuthWish, remoteAddress: string): Promise<IssuedToken> {
  const { db, clock, config, tokens } = cloud
  const parent = wish.token === undefined ? undefined : await tokens.find(db.read, wish.token, clock.now())
  if (wish.token !== undefined && !parent) throw loginRefused()
  const user = wish.password
    ? await provePassword(cloud, wish.password, remoteAddress)
    : parent && (await findUser(db.read, { id: parent.userId }))
  // Two proofs must be of the same user.
  if (!user || (parent && parent.userId !== user.id)) throw loginRefused()

  const projectId = await resolveScope(db.read, user, wish.scope)
  const methods = [...(parent ? ['token'] : []), ...(wish.password ? ['password'] : [])]
  return db.transaction(async (tx) => {
    if (parent) await checkParent(tx, parent)
    const now = clock.now()
    const lifetimeMs = config.tokenMinutes * 60_000
    return issueToken(tx, { userId: user.id, projectId, methods, now, lifetimeMs, parent })
  })
}

/** The user whose password this is. */
async function provePassword(
  cloud: Cloud,
  { user: ref, password }: PasswordProof,
  remoteAddress: string,
): Promise<KnownUser> {
  const { db, clock, log, metrics, logins } = cloud
  const user = await findUser(db.read, ref)
  // By id and by name, it is the same user whose failures are counted.
  const attempt = { user: user?.id ?? hashSecret(JSON.stringify(ref)), address: callerOf(remoteAddress) }
  const checkPause = () => {
    const waitMs = logins.throttle.waitMs(attempt, clock.now())
    if (waitMs === 0) return
    metrics.logins.inc({ result: 'throttled' })
    const seconds = Math.ceil(waitMs / 1000)
    throw new ApiError('rateLimited', `Too many failed logins. Try again in ${seconds} s.`, {
      headers: { 'retry-after': String(seconds) },
    })
  }
  checkPause()
  return logins.slots.run(attempt.address, async () => {
    // Again: those that ran while this one waited may have used up what was free.
    checkPause()
    const isRight = await verifyPassword(password, user?.passwordHash)
    if (user?.isEnabled && isRight) {
      logins.throttle.succeeded(attempt)
      metrics.logins.inc({ result: 'ok' })
      return user
    }
    logins.throttle.failed(attempt, clock.now())
    metrics.logins.inc({ result: 'refused' })
    log.info({ userId: user?.id ?? null, remoteAddress }, 'a login was refused')
    throw loginRefused()
  })
}

/** The project a token is to be scoped to, null for none. */
async function resolveScope(read: Reader, user: KnownUser, scope: ScopeWish): Promise<string | null> {
  switch (scope) {
    case 'unscoped':
      return null
    case 'domain':
    case 'system':
      // There are no roles on domains or on the system, so nobody has one.
      throw loginRefused()
    case 'default': {
      const { defaultProjectId: id } = user
      return id !== null && (await mayUse(read, user.id, { id })) ? id : null
    }
    default: {
      const projectId = await mayUse(read, user.id, scope.project)
      if (projectId === undefined) throw loginRefused()
      return projectId
    }
  }
}

/** Id of the project, when it is enabled and the user has a role in it. */
async function mayUse(
  read: Reader,
  userId: string,
  ref: Parameters<typeof findProject>[1],
): Promise<string | undefined> {
  const project = await findProject(read, ref)
  // Asked also when there is no project, so that both answers take as long.
  const roles = await listRoles(read, userId, project?.id ?? '')
  return project?.isEnabled && roles.length > 0 ? project.id : undefined
}

/** A token that is revoked at this moment gives no other one. */
async function checkParent(tx: Reader, parent: TokenFacts): Promise<void> {
  const row = await tx.selectFrom('tokens').select('hash').where('hash', '=', parent.hash).executeTakeFirst()
  if (!row) throw loginRefused()
}
