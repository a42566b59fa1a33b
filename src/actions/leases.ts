import { sql } from 'kysely'
import type { Database, Tx } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { newSecret } from '../lib/ids.ts'

/** How long a lease lasts when nobody renews it, in milliseconds: the pause after a process died. */
export const LEASE_MS = 30_000

/** Another runner, or a takeover, has the action now; nothing may be written for it. */
export class LeaseLostError extends Error {
  override readonly name = 'LeaseLostError'
}

/** A lease as its holder knows it. The token is new with each lease: an expired one opens nothing any more. */
export type Leased = Row<'actions'> & { leaseToken: string }

export interface LeaseWish {
  /** Names of the actions that the asker knows; a newer Novella's stay for it. */
  names: readonly string[]
  /** Ids of actions whose steps still run here, although their lease may have expired. */
  running: readonly number[]
  limit: number
}

/**
 * Leases due actions. At most one action of a resource is leased at a time: a superseded step that still runs keeps its
 * successor waiting, so no late host call can undo what the successor did.
 */
export async function leaseDue(db: Database, wish: LeaseWish, now: number): Promise<Leased[]> {
  const leaseToken = newSecret()
  return db.transaction(async (tx) => {
    let due = tx
      .selectFrom('actions')
      .selectAll()
      .where('isOpen', '=', 1)
      .where('dueAt', '<=', now)
      .where('leaseUntil', '<=', now)
      .where('name', 'in', wish.names)
      .$if(wish.running.length > 0, (query) => query.where('id', 'not in', wish.running))
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
      .limit(wish.limit)
    if (db.kind === 'postgres') due = due.forUpdate().skipLocked()
    const rows = await due.execute()
    if (rows.length > 0) {
      await tx
        .updateTable('actions')
        .set({ leaseToken, leaseUntil: now + LEASE_MS })
        .where(
          'id',
          'in',
          rows.map((row) => row.id),
        )
        .execute()
    }
    return rows.map((row) => ({ ...row, leaseToken, leaseUntil: now + LEASE_MS }))
  })
}

/** Keeps the leases of steps that take long. */
export async function renewLeases(tx: Tx, leases: readonly Leased[], now: number): Promise<void> {
  if (leases.length === 0) return
  await tx
    .updateTable('actions')
    .set({ leaseUntil: now + LEASE_MS })
    .where(
      'id',
      'in',
      leases.map((lease) => lease.id),
    )
    .where('leaseToken', 'in', [...new Set(leases.map((lease) => lease.leaseToken))])
    .execute()
}

/**
 * Writes to an action only while it is open and the lease on it holds.
 * @throws LeaseLostError otherwise, which rolls the whole transaction back.
 */
export async function updateLeased(tx: Tx, lease: Leased, change: Partial<Row<'actions'>>): Promise<void> {
  const { numUpdatedRows } = await tx
    .updateTable('actions')
    .set(change)
    .where('id', '=', lease.id)
    .where('isOpen', '=', 1)
    .where('leaseToken', '=', lease.leaseToken)
    .executeTakeFirstOrThrow()
  if (numUpdatedRows !== 1n) throw new LeaseLostError(`The lease of action ${lease.id} is gone.`)
}

/** Ends a lease, also on an action that a takeover closed, whose successor waits for this. */
export async function releaseLease(tx: Tx, lease: Leased): Promise<void> {
  await tx
    .updateTable('actions')
    .set({ leaseToken: null, leaseUntil: 0 })
    .where('id', '=', lease.id)
    .where('leaseToken', '=', lease.leaseToken)
    .execute()
}

/** Ends all leases: for a process that knows that it is the only one on this database and has just started. */
export async function voidLeases(tx: Tx): Promise<void> {
  await tx.updateTable('actions').set({ leaseToken: null, leaseUntil: 0 }).where('leaseUntil', '>', 0).execute()
}

/**
 * When to look again, in epoch milliseconds: when the next action comes due, or the next lease expires. What is due
 * already waits for something else, which nudges when it ends. Undefined when nothing is to come.
 */
export async function nextDueAt(db: Database, now: number): Promise<number | undefined> {
  const at = sql<number>`case when "leaseUntil" > "dueAt" then "leaseUntil" else "dueAt" end`
  const next = await db.read
    .selectFrom('actions')
    .select(sql<number | null>`min(${at})`.as('at'))
    .where('isOpen', '=', 1)
    .where(at, '>', now)
    .executeTakeFirstOrThrow()
  return next.at ?? undefined
}
