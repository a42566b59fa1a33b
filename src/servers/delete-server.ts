import type { Action, Outcome, Save } from '../actions/action.ts'
import { acceptAction, findOpenAction, supersedeAction } from '../actions/journal.ts'
import type { Cloud } from '../cloud.ts'
import type { Tx } from '../db/database.ts'
import { releaseRoom } from '../hosts/host-store.ts'
import type { Caller } from '../http/policy.ts'
import { releasePorts } from '../ports/delete-ports.ts'
import { type ActionParts, endInError, type ServerSubject, serverAction } from './server-action.ts'
import { forgetDisks, partFromDisks, removeDoomed } from './server-disks.ts'
import { assertUnlocked } from './server-state.ts'
import { getServer, updateServer } from './server-store.ts'
import { dropUnfinishedImages } from './unfinished-images.ts'

type Step = 'powerOff' | 'unplugPorts' | 'removeDisks' | 'removeVolumes' | 'removeImages' | 'release'

const DEADLINE_MS = 10 * 60_000

/**
 * Deletes a server, whatever was half done with it.
 *
 *   powerOff → unplugPorts → removeDisks → removeVolumes → removeImages → release      gone
 *
 * Its volumes are free once its guest is gone, but those that go with it; so do images of it that were not done.
 */
export function deleteServer(parts: ActionParts): Action<null, Step, ServerSubject> {
  const { clock } = parts
  const partFrom = async (server: ServerSubject['server'], before?: Save): Promise<Outcome<Step>> => {
    const { handOverCopied } = await import('./copied-volumes.ts')
    return {
      go: 'removeVolumes',
      async save(tx) {
        await before?.(tx)
        await handOverCopied(parts, tx, server)
        await partFromDisks(tx, server.id, (disk) => disk.isDeletedWithServer === 1, clock.now())
      },
    }
  }
  return serverAction<null, Step>(parts, {
    name: 'delete',
    first: 'powerOff',
    deadlineMs: DEADLINE_MS,
    taskStates: {
      powerOff: 'deleting',
      unplugPorts: 'deleting',
      removeDisks: 'deleting',
      removeVolumes: 'deleting',
      removeImages: 'deleting',
      release: 'deleting',
    },
    steps: {
      async powerOff(subject) {
        // No host was picked yet, or the failed build cleaned up: nothing is anywhere but in the database.
        if (subject.server.hostName === null) return partFrom(subject.server)
        await subject.host.ensureOff(subject.server.id)
        return { go: 'unplugPorts' }
      },
      async unplugPorts({ ports, host }) {
        for (const port of ports) await host.removePort(port.id)
        return { go: 'removeDisks' }
      },
      async removeDisks({ server, host }) {
        await host.removeDisks(server.id)
        // Volumes with snapshots stay; those that nobody is to have keep none.
        const { dropUnfinishedSnapshots } = await import('./snapshot-volumes.ts')
        return partFrom(server, await dropUnfinishedSnapshots(parts, server))
      },
      async removeVolumes({ server }) {
        await removeDoomed(parts, server.id)
        return { go: 'removeImages' }
      },
      async removeImages({ server }) {
        return { go: 'release', save: await dropUnfinishedImages(parts, server.id) }
      },
      async release({ server }) {
        const now = clock.now()
        return {
          done: true,
          async save(tx) {
            await forgetDisks(tx, server.id)
            await releasePorts(parts, tx, server.id)
            await releaseRoom(tx, server.id)
            await tx.deleteFrom('consoleTokens').where('serverId', '=', server.id).execute()
            await tx.deleteFrom('serverKeypairs').where('serverId', '=', server.id).execute()
            const noSecrets = { sealedAdminPass: null, guestPassword: null }
            const gone = { vmState: 'deleted', taskState: null, powerState: 0, ...noSecrets } as const
            await updateServer(tx, server.id, { ...gone, deletedAt: now, terminatedAt: now }, now)
          },
        }
      },
    },
    failed: endInError(parts),
  })
}

/** Lost races before a delete gives up; each time somebody else's action got in. */
const TRIES = 5

/**
 * Accepts a delete in any state; asking again is nothing new. Whatever else was going on with the server ends.
 * @throws ApiError itemNotFound; conflictingRequest when it is locked.
 */
export async function acceptDeleteServer(cloud: Cloud, caller: Caller, serverId: string): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      return await cloud.db.transaction((tx) => takeOver(cloud, tx, caller, serverId))
    } catch (error) {
      // Another action was opened between our look and our write. It is committed now, so the next look sees it.
      if (tries === TRIES || !cloud.db.isDuplicate(error)) throw error
    }
  }
}

async function takeOver(cloud: Cloud, tx: Tx, caller: Caller, serverId: string): Promise<void> {
  const action = cloud.actions.delete
  assertUnlocked(await getServer(tx, caller, serverId), caller.isAdmin)
  const open = await findOpenAction(tx, serverId)
  if (open?.name === action.name) return
  const now = cloud.clock.now()
  await supersedeAction(tx, serverId, now)
  await acceptAction(tx, action, serverId, null, caller, now)
  // The row is locked by now: a delete that ended since the first look shows in this one, and undoes all of this.
  await getServer(tx, caller, serverId)
  tx.onCommit(() => cloud.runner.nudge())
}
