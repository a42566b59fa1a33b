import { sql } from 'kysely'
import type { Database, Tx } from '../db/database.ts'
import type { Row } from '../db/schema.ts'

/** How long a lease lasts when nobody renews it, in milliseconds: the pause after a process died. */
export const LEASE_MS = 30_000

/** Another runner, or a takeover, has the action now; nothing may be written for it. */
export class LeaseLostError extends Error {
  override readonly name = 'LeaseLostError'
}

/**
 * Leases up to `limit` due actions to `holder`. At most one action of a resource is leased at a time: a superseded
 * step that still runs keeps its successor waiting, so no late host call can undo what the successor did.
 */
export async function leaseDue(db: Database, holder: string, now: number, limit: number): Promise<Row<'actions'>[]> {
  return db.transaction(async (tx) => {
    let due = tx
      .selectFrom('actions')
      .selectAll()
      .where('isOpen', '=', 1)
      .where('dueAt', '<=', now)
      .where('leaseUntil', '<=', now)
      .where(({ not, exists, selectFrom }) =>
        not(
          exists(
            selectFrom('actions as other')
              .select('other.id')
              .whereRef('other.resourceId', '=', 'actions.resourceId')
              .where('other.leaseUntil', '>', now),
          ),
        ),
      )
      .orderBy('dueAt')
      .orderBy('id')
      .limit(limit)
    if (db.kind === 'postgres') due = due.forUpdate().skipLocked()
    const rows = await due.execute()
    if (rows.length > 0) {
      await tx
        .updateTable('actions')
        .set({ leaseToken: holder, leaseUntil: now + LEASE_MS })
        .where(
          'id',
          'in',
          rows.map((row) => row.id),
        )
        .execute()
    }
    return rows.map((row) => ({ ...row, leaseToken: holder, leaseUntil: now + LEASE_MS }))
  })
}

/** Keeps the leases of steps that take long. */
export async function renewLeases(tx: Tx, holder: string, ids: number[], now: number): Promise<void> {
  if (ids.length === 0) return
  await tx
    .updateTable('actions')
    .set({ leaseUntil: now + LEASE_MS })
    .where('id', 'in', ids)
    .where('leaseToken', '=', holder)
    .execute()
}

/**
 * Writes to an action only while it is open and leased to `holder`.
 * @throws LeaseLostError otherwise, which rolls the whole transaction back.
 */
export async function updateLeased(tx: Tx, holder: string, id: number, change: Partial<Row<'actions'>>): Promise<void> {
  const { numUpdatedRows } = await tx
    .updateTable('actions')
    .set(change)
    .where('id', '=', id)
    .where('isOpen', '=', 1)
    .where('leaseToken', '=', holder)
    .executeTakeFirstOrThrow()
  if (numUpdatedRows !== 1n) throw new LeaseLostError(`The lease of action ${id} is gone.`)
}

/** Ends the lease on an action that was closed by a takeover, so that its successor may start. */
export async function releaseLease(tx: Tx, holder: string, id: number): Promise<void> {
  await tx
    .updateTable('actions')
    .set({ leaseToken: null, leaseUntil: 0 })
    .where('id', '=', id)
    .where('leaseToken', '=', holder)
    .execute()
}

/** Ends all leases: for a process that knows that it is the only one on this database and has just started. */
export async function voidLeases(tx: Tx): Promise<void> {
  await tx.updateTable('actions').set({ leaseToken: null, leaseUntil: 0 }).where('leaseUntil', '>', 0).execute()
}

/** When the next action is due, in epoch milliseconds; undefined when none is open. */
export async function nextDueAt(db: Database): Promise<number | undefined> {
  const { at } = await db.read
    .selectFrom('actions')
    .select(sql<number | null>`min(case when "leaseUntil" > "dueAt" then "leaseUntil" else "dueAt" end)`.as('at'))
    .where('isOpen', '=', 1)
    .executeTakeFirstOrThrow()
  return at ?? undefined
}
