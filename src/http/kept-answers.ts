import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Cloud } from '../cloud.ts'
import type { Database } from '../db/database.ts'

/** How much is kept in all, in characters. */
const KEPT_CHARACTERS = 2_000_000

/**
 * Answers as they were sent, kept until anything in the database changes: those who wait for a server ask the same again
 * and again. Whoever keeps one makes it of what the database says and of nothing else.
 */
export class KeptAnswers {
  readonly #db: Pick<Database, 'version'>
  #kept = new Map<string, string>()
  #characters = 0
  /** The version of the database that all of them show. */
  #version: number | undefined

  constructor(db: Pick<Database, 'version'>) {
    this.#db = db
  }

  /** The answer kept under the key, or a new one. */
  async get(key: string, make: () => Promise<string>): Promise<string> {
    const before = this.#db.version()
    if (before === undefined) return make()
    if (before !== this.#version) this.#forget(before)
    const kept = this.#kept.get(key)
    if (kept !== undefined) return kept
    const answer = await make()
    // Made while something changed, it may show half of the change.
    if (before === this.#db.version() && before === this.#version) this.#keep(key, answer)
    return answer
  }

  #keep(key: string, answer: string): void {
    const characters = key.length + answer.length
    if (this.#characters + characters > KEPT_CHARACTERS) this.#forget(this.#version)
    this.#kept.set(key, answer)
    this.#characters += characters
  }

  #forget(version: number | undefined): void {
    this.#kept = new Map()
    this.#characters = 0
    this.#version = version
  }
}

/**
 * Sends an answer that depends on nothing but the URL, whoever asks in which project, and the database; the body comes
 * from `make` unless an equal one was sent since the database last changed.
 */
export async function sendKept(
  cloud: Pick<Cloud, 'keptAnswers'>,
  request: FastifyRequest,
  reply: FastifyReply,
  make: () => Promise<object>,
): Promise<FastifyReply> {
  const { projectId, isAdmin } = request.caller
  const key = `${isAdmin ? 'admin' : 'user'} ${projectId} ${request.links.base} ${request.microversion} ${request.originalUrl}`
  const body = await cloud.keptAnswers.get(key, async () => reply.serialize(await make()) as string)
  return reply.header('content-type', 'application/json; charset=utf-8').send(body)
}
