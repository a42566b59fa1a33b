/**
 * Keys that a guest is still to be told of, because it was off, or no agent answered in it. Whoever boots reads metadata,
 * but most guests do so once in their life: cloud-init writes keys when an instance is new. So the change is kept, and
 * looked after for a while whenever the server starts, or its keys change.
 */
import { acceptAction, findOpenAction, listActions } from '../actions/journal.ts'
import type { Cloud } from '../cloud.ts'
import type { Tx } from '../db/database.ts'
import { newId } from '../lib/ids.ts'
import { findServer } from './server-store.ts'

/** Public keys, one line each. */
export interface KeyChange {
  add: string[]
  remove: string[]
}

/** The key without its comment. */
export const bytesOf = (publicKey: string): string => publicKey.split(/\s+/, 2).join(' ')

/** What is to be told of two changes, the later of which holds. */
export function mergeChanges(earlier: KeyChange, later: KeyChange): KeyChange {
  const named = new Set([...later.add, ...later.remove].map(bytesOf))
  const left = (keys: string[]) => keys.filter((key) => !named.has(bytesOf(key)))
  return { add: [...left(earlier.add), ...later.add], remove: [...left(earlier.remove), ...later.remove] }
}

/** Nothing that a user sees: `updated` stays. */
export async function writeUntold(tx: Tx, serverId: string, change: KeyChange | null): Promise<void> {
  const isNothing = change === null || change.add.length + change.remove.length === 0
  const untoldKeys = isNothing ? null : JSON.stringify(change)
  await tx.updateTable('servers').set({ untoldKeys }).where('id', '=', serverId).execute()
}

export const readUntold = (text: string | null): KeyChange =>
  text === null ? { add: [], remove: [] } : JSON.parse(text)

/** How often guests are looked at, and for how long after their server last changed, in milliseconds. */
const LOOK_EVERY_MS = 10_000
const LOOK_FOR_MS = 15 * 60_000
/** How often a guest is told that says it listens and then does not: each time holds up whatever else is asked of it. */
const MOST_TRIES = 3

type SweepParts = Pick<Cloud, 'db' | 'clock' | 'hosts' | 'log' | 'actions' | 'runner'>

/** Tells guests whose agent answers by now. @returns how many are told. */
export async function tellGuests(cloud: SweepParts): Promise<number> {
  const { db, clock, hosts, runner } = cloud
  const rows = await db.read
    .selectFrom('servers')
    .select(['id', 'hostName', 'projectId', 'userId'])
    .where('hostName', 'in', [...hosts.keys()])
    .where('untoldKeys', 'is not', null)
    .where('vmState', '=', 'active')
    .where('taskState', 'is', null)
    .where('deletedAt', 'is', null)
    .where('updatedAt', '>', clock.now() - LOOK_FOR_MS)
    .execute()
  const told = await Promise.all(
    rows.map(async ({ id, hostName, projectId, userId }) => {
      const health = await hosts.get(hostName ?? '')?.readGuestHealth(id)
      if (health?.agent !== 'answers') return false
      return db.transaction(async (tx) => {
        const server = await findServer(tx, id)
        if (!server?.untoldKeys || server.vmState !== 'active' || server.taskState || (await findOpenAction(tx, id))) {
          return false
        }
        const tries = (await listActions(tx, id)).filter(
          ({ name, acceptedAt }) => name === 'tellKeypairs' && acceptedAt > server.updatedAt,
        )
        if (tries.length >= MOST_TRIES) return false
        const asker = { projectId, userId, requestId: `req-${newId()}` }
        await acceptAction(tx, cloud.actions.tellKeypairs, id, null, asker, clock.now())
        return true
      })
    }),
  )
  if (told.includes(true)) runner.nudge()
  return told.filter(Boolean).length
}

/** Tells guests from time to time; one look at a time. */
export function sweepUntoldKeys(cloud: SweepParts): AsyncDisposable {
  let looking: Promise<void> | undefined
  let cancel = () => {}
  const again = (): void => {
    cancel = cloud.clock.after(LOOK_EVERY_MS, () => {
      looking ??= tellGuests(cloud)
        .then(
          () => {},
          // Of two at once, another action got in: it is the next look's.
          (error: unknown) =>
            cloud.db.isDuplicate(error) || cloud.log.error({ err: error }, 'telling guests of keys failed'),
        )
        .then(() => {
          looking = undefined
        })
      again()
    })
  }
  again()
  return {
    async [Symbol.asyncDispose]() {
      cancel()
      await looking
    },
  }
}
