import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Cloud } from '../cloud.ts'
import type { Tx } from '../db/database.ts'
import { ApiError } from './api-error.ts'

const KEY = /^[\x21-\x7e]{1,255}$/
/** How long a first answer can be had again, in milliseconds. */
const KEPT_MS = 24 * 3_600_000

/**
 * Makes something once: runs `make` in a transaction and sends what it returns. With an `Idempotency-Key` header the
 * answer is kept in the same transaction, and a repeated request gets it again instead of a second thing.
 * @throws ApiError badRequest for a malformed key; conflictingRequest for a key that came with another request.
 */
export async function sendOnce<Body>(
  cloud: Cloud,
  request: FastifyRequest,
  reply: FastifyReply,
  status: number,
  make: (tx: Tx) => Promise<Body>,
): Promise<FastifyReply> {
  return sendOnceAfter(cloud, request, reply, status, async () => make)
}

/**
 * As `sendOnce`, for things that need work too long for a transaction: `prepare` does it, unless there is an earlier
 * answer, and returns what is left for the transaction.
 */
export async function sendOnceAfter<Body>(
  cloud: Cloud,
  request: FastifyRequest,
  reply: FastifyReply,
  status: number,
  prepare: () => Promise<(tx: Tx) => Promise<Body>>,
): Promise<FastifyReply> {
  const { db, box, clock } = cloud
  const key = request.headers['idempotency-key']
  if (key === undefined) return reply.code(status).send(await db.transaction(await prepare()))
  if (typeof key !== 'string' || !KEY.test(key)) {
    throw new ApiError('badRequest', 'Idempotency-Key must be 1 to 255 printable ASCII characters without spaces.')
  }
  const { userId, projectId } = request.caller
  // A body may hold a password, and weak ones are guessed from a plain hash.
  const requestHash = box.fingerprint(`${request.method} ${request.url}\n${JSON.stringify(request.body ?? null)}`)
  const now = clock.now()
  const oldest = now - KEPT_MS
  const find = () =>
    db.read
      .selectFrom('idempotentAnswers')
      .selectAll()
      .where('userId', '=', userId)
      .where('projectId', '=', projectId)
      .where('key', '=', key)
      .where('createdAt', '>=', oldest)
      .executeTakeFirst()

  const again = (answer: NonNullable<Awaited<ReturnType<typeof find>>>) => {
    if (answer.requestHash !== requestHash) {
      throw new ApiError('conflictingRequest', 'This Idempotency-Key was used for another request.')
    }
    return reply
      .code(answer.status)
      .header('idempotency-replayed', 'true')
      .send(JSON.parse(box.open(answer.sealedBody)) ?? undefined)
  }

  const earlier = await find()
  if (earlier) return again(earlier)
  const make = await prepare()
  try {
    const body = await db.transaction(async (tx) => {
      await tx.deleteFrom('idempotentAnswers').where('createdAt', '<', oldest).execute()
      // The empty answer takes the key first: of two requests at once, the second waits here and then fails.
      await tx
        .insertInto('idempotentAnswers')
        .values({ userId, projectId, key, requestHash, status, sealedBody: '', createdAt: now })
        .execute()
      const made = await make(tx)
      await tx
        .updateTable('idempotentAnswers')
        .set({ sealedBody: box.seal(JSON.stringify(made ?? null)) })
        .where('userId', '=', userId)
        .where('projectId', '=', projectId)
        .where('key', '=', key)
        .execute()
      return made
    })
    return reply.code(status).send(body)
  } catch (error) {
    const winner = db.isDuplicate(error) ? await find() : undefined
    if (!winner) throw error
    return again(winner)
  }
}
