import type { Kysely } from 'kysely'

/** First answers to requests that carry an `Idempotency-Key`, so that a repeated one makes nothing twice. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('idempotentAnswers')
    .addColumn('userId', 'text', (c) => c.notNull())
    .addColumn('projectId', 'text', (c) => c.notNull())
    .addColumn('key', 'text', (c) => c.notNull())
    .addColumn('requestHash', 'text', (c) => c.notNull())
    .addColumn('status', 'integer', (c) => c.notNull())
    .addColumn('sealedBody', 'text', (c) => c.notNull())
    .addColumn('createdAt', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('idempotentAnswersKey', ['userId', 'projectId', 'key'])
    .execute()
  await db.schema.createIndex('idempotentAnswersByAge').on('idempotentAnswers').column('createdAt').execute()
}
