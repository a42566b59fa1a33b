/** The durable actions that plug a volume into a server, and take one out. Users see no task state of them. */
import type { Action } from '../actions/action.ts'
import type { Tx } from '../db/database.ts'
import { type ActionParts, type ServerSubject, serverAction } from './server-action.ts'
import { diskPlanOf, freeVolume, settleDisks } from './server-disks.ts'

/** Input of both. */
export interface DiskInput {
  volumeId: string
}

/** Long enough for a guest to boot, which lets go of no disk before. */
const DEADLINE_MS = 2 * 60_000

type AttachStep = 'plugDisk' | 'takeBack'

/**
 * S20: the volume is the server's since the request was accepted (`attaching`), so that whatever starts the guest gives
 * it the disk too.
 *
 *   plugDisk                      in-use
 *       └─────→ takeBack          available, as before
 */
export function attachVolume(parts: ActionParts): Action<DiskInput, AttachStep, ServerSubject> {
  return serverAction<DiskInput, AttachStep>(parts, {
    name: 'attachVolume',
    first: 'plugDisk',
    deadlineMs: DEADLINE_MS,
    steps: {
      async plugDisk({ server, disks, host, input }) {
        const device = deviceOf(disks, input)
        if (!device) return { go: 'takeBack' }
        await host.ensureAttached(server.id, diskPlanOf(server, device))
        return { done: true, save: keep(parts, server.id) }
      },
      async takeBack({ server, disks, host, input }) {
        await host.removeAttached(server.id, input.volumeId)
        return { done: true, save: free(parts, disks, input) }
      },
    },
    failed: () => ({ go: 'takeBack' }),
    // The guest may have it open: nobody else may get it. The server's next start gives it the disk for sure.
    abandoned: (tx, serverId) => keep(parts, serverId)(tx),
  })
}

/**
 * S21: the volume is free only once the host says that nobody has it open any more.
 *
 *   unplugDisk      available; or in-use as before, when the guest does not let go of it
 */
export function detachVolume(parts: ActionParts): Action<DiskInput, 'unplugDisk', ServerSubject> {
  return serverAction<DiskInput, 'unplugDisk'>(parts, {
    name: 'detachVolume',
    first: 'unplugDisk',
    deadlineMs: DEADLINE_MS,
    steps: {
      async unplugDisk({ server, disks, host, input }) {
        await host.removeAttached(server.id, input.volumeId)
        return { done: true, save: free(parts, disks, input) }
      },
    },
    failed: ({ server }) => ({ done: true, save: keep(parts, server.id) }),
    abandoned: (tx, serverId) => keep(parts, serverId)(tx),
  })
}

const deviceOf = (disks: ServerSubject['disks'], { volumeId }: DiskInput) =>
  disks.find((device) => device.volumeId === volumeId)

/** Only one disk of a server is changed at a time, so all others are settled already. */
const keep = (parts: ActionParts, serverId: string) => (tx: Tx) => settleDisks(tx, serverId, parts.clock.now())

const free = (parts: ActionParts, disks: ServerSubject['disks'], input: DiskInput) => async (tx: Tx) => {
  const device = deviceOf(disks, input)
  if (device) await freeVolume(tx, device, parts.clock.now())
}
