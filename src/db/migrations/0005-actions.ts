import { type Kysely, sql } from 'kysely'
import { autoId } from './auto-id.ts'

/** Durable actions and their events. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('actions')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('name', 'text', (c) => c.notNull())
    .addColumn('resourceId', 'text', (c) => c.notNull())
    .addColumn('step', 'text', (c) => c.notNull())
    .addColumn('isOpen', 'integer', (c) => c.notNull())
    .addColumn('input', 'text', (c) => c.notNull())
    .addColumn('failure', 'text')
    .addColumn('attempts', 'integer', (c) => c.notNull())
    .addColumn('acceptedAt', 'bigint', (c) => c.notNull())
    .addColumn('stepEnteredAt', 'bigint', (c) => c.notNull())
    .addColumn('deadlineAt', 'bigint', (c) => c.notNull())
    .addColumn('dueAt', 'bigint', (c) => c.notNull())
    .addColumn('leaseToken', 'text')
    .addColumn('leaseUntil', 'bigint', (c) => c.notNull())
    .addColumn('requestId', 'text', (c) => c.notNull())
    .addColumn('projectId', 'text', (c) => c.notNull())
    .addColumn('userId', 'text', (c) => c.notNull())
    .addColumn('result', 'text')
    .addColumn('finishedAt', 'bigint')
    .execute()
  // Two open actions of one resource cannot exist, whatever the code above believes.
  await db.schema
    .createIndex('oneOpenAction')
    .on('actions')
    .column('resourceId')
    .unique()
    .where(sql.ref('isOpen'), '=', sql.lit(1))
    .execute()
  await db.schema
    .createIndex('dueActions')
    .on('actions')
    .column('dueAt')
    .where(sql.ref('isOpen'), '=', sql.lit(1))
    .execute()
  await db.schema.createIndex('actionsOfResource').on('actions').columns(['resourceId', 'acceptedAt']).execute()
  await autoId(db, db.schema.createTable('actionEvents'))
    .addColumn('actionId', 'text', (c) => c.notNull().references('actions.id').onDelete('cascade'))
    .addColumn('step', 'text', (c) => c.notNull())
    .addColumn('startedAt', 'bigint', (c) => c.notNull())
    .addColumn('finishedAt', 'bigint', (c) => c.notNull())
    .addColumn('result', 'text', (c) => c.notNull())
    .addColumn('message', 'text')
    .execute()
  await db.schema.createIndex('eventsOfAction').on('actionEvents').column('actionId').execute()
}
