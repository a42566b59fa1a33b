import type { Reader, Tx } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { AnyAction } from './action.ts'

/** Who asked, for the record. */
export interface Asker {
  requestId: string
  projectId: string
  userId: string
}

/**
 * Opens an action on a resource, in the transaction that checked it may start.
 * @param sealedSecret what its steps need and nobody else may read; it is forgotten when the action is closed, however.
 * @throws Error of the database (a duplicate) when one is open: the caller's own compare-and-set comes first.
 */
export async function acceptAction<Input>(
  tx: Tx,
  action: AnyAction,
  resourceId: string,
  input: Input,
  { requestId, projectId, userId }: Asker,
  now: number,
  sealedSecret: string | null = null,
): Promise<number> {
  const { id } = await tx
    .insertInto('actions')
    .values({
      name: action.name,
      resourceId,
      step: action.first,
      isOpen: 1,
      input: JSON.stringify(input),
      sealedSecret,
      failure: null,
      attempts: 0,
      acceptedAt: now,
      stepEnteredAt: now,
      deadlineAt: now + action.deadlineMs,
      dueAt: now,
      leaseToken: null,
      leaseUntil: 0,
      requestId,
      projectId,
      userId,
      result: null,
      finishedAt: null,
    })
    .returning('id')
    .executeTakeFirstOrThrow()
  await action.entering?.(tx, resourceId, action.first, input)
  return id
}

/**
 * Closes whatever action is open on a resource, so that another may take over. A step of it that is running right now
 * finds its lease gone and commits nothing; the lease itself stays until that step ends, which holds back the next.
 */
export async function supersedeAction(tx: Tx, resourceId: string, now: number): Promise<void> {
  await tx
    .updateTable('actions')
    .set({ isOpen: 0, result: 'Superseded', finishedAt: now, sealedSecret: null })
    .where('resourceId', '=', resourceId)
    .where('isOpen', '=', 1)
    .execute()
}

/** The open action of a resource, or undefined. */
export async function findOpenAction(read: Reader, resourceId: string): Promise<Row<'actions'> | undefined> {
  return read
    .selectFrom('actions')
    .selectAll()
    .where('resourceId', '=', resourceId)
    .where('isOpen', '=', 1)
    .executeTakeFirst()
}

/** All actions of a resource, oldest first. */
export async function listActions(read: Reader, resourceId: string): Promise<Row<'actions'>[]> {
  return read.selectFrom('actions').selectAll().where('resourceId', '=', resourceId).orderBy('id').execute()
}

/** The action of a resource that a request asked for; undefined when it asked for none. */
export async function findActionByRequest(
  read: Reader,
  resourceId: string,
  requestId: string,
): Promise<Row<'actions'> | undefined> {
  return read
    .selectFrom('actions')
    .selectAll()
    .where('resourceId', '=', resourceId)
    .where('requestId', '=', requestId)
    .orderBy('id', 'desc')
    .executeTakeFirst()
}

/** What the steps of an action did, in order. */
export async function listEvents(read: Reader, actionId: number): Promise<Row<'actionEvents'>[]> {
  return read.selectFrom('actionEvents').selectAll().where('actionId', '=', actionId).orderBy('id').execute()
}
