import { randomBytes } from 'node:crypto'
import type { Tx } from '../db/database.ts'
import { ApiError } from '../http/api-error.ts'
import { hashSecret, newSecret } from '../lib/ids.ts'
import { readToken, type TokenFacts } from './token-store.ts'

/** How many expired tokens are removed whenever one is issued: more than come in, and still a short transaction. */
const SWEPT = 20

export interface TokenWish {
  userId: string
  /** null: not scoped to a project. */
  projectId: string | null
  /** How the user proved who he is, in the words of the API. */
  methods: readonly string[]
  /** Epoch milliseconds. */
  now: number
  lifetimeMs: number
  /** The token that this one is got with: it does not outlive it, and continues its audit chain. */
  parent?: TokenFacts | undefined
}

export interface IssuedToken {
  /** The secret itself: nowhere else, and not to be had again. */
  token: string
  facts: TokenFacts
}

/**
 * Issues a token, and sweeps a few that have expired.
 * @throws ApiError unauthorized when the user may not have it: disabled, project disabled, no role there.
 */
export async function issueToken(tx: Tx, wish: TokenWish): Promise<IssuedToken> {
  const { userId, projectId, now, lifetimeMs, parent } = wish
  const token = newSecret()
  const hash = hashSecret(token)
  await tx
    .deleteFrom('tokens')
    .where('hash', 'in', (sub) =>
      sub.selectFrom('tokens').select('hash').where('expiresAt', '<=', now).orderBy('expiresAt').limit(SWEPT),
    )
    .execute()
  await tx
    .insertInto('tokens')
    .values({
      hash,
      userId,
      projectId,
      methods: JSON.stringify([...new Set([...wish.methods, ...(parent?.methods ?? [])])]),
      auditId: randomBytes(16).toString('base64url'),
      parentAuditId: parent ? (parent.parentAuditId ?? parent.auditId) : null,
      issuedAt: now,
      expiresAt: Math.min(now + lifetimeMs, parent?.expiresAt ?? Number.POSITIVE_INFINITY),
    })
    .execute()
  const facts = await readToken(tx, hash, now)
  if (!facts) throw loginRefused()
  return { token, facts }
}

/** The one refusal of all who want a token, whatever was wrong. */
export const loginRefused = (): ApiError =>
  new ApiError('unauthorized', 'The request you have made requires authentication.')
