/** The durable actions that plug a network card into a server, and take one out. Users see no task state of them. */
import type { Action } from '../actions/action.ts'
import type { Tx } from '../db/database.ts'
import type { CardPlan } from '../host/host-driver.ts'
import { hostNameOf } from '../lib/host-names.ts'
import { deletePorts } from '../ports/delete-ports.ts'
import { freed, readPortPlan } from '../ports/port-store.ts'
import { type ActionParts, type ServerSubject, serverAction } from './server-action.ts'

/** Input of both: the port that the card is of. */
export interface CardInput {
  portId: string
}

/** Long enough for a guest to boot, which lets go of no card before. */
const DEADLINE_MS = 2 * 60_000

type AttachStep = 'plugPort' | 'plugCard' | 'takeBack'

/**
 * S26, S28: the port is the server's since the request was accepted, so that whatever starts the guest plugs it too.
 *
 *   plugPort → plugCard                    attached
 *       └─────────┴─────→ takeBack         as before: a port made for it is gone, one of a user is free
 */
export function attachInterface(parts: ActionParts): Action<CardInput, AttachStep, ServerSubject> {
  return serverAction<CardInput, AttachStep>(parts, {
    name: 'attachInterface',
    first: 'plugPort',
    deadlineMs: DEADLINE_MS,
    steps: {
      async plugPort({ server, ports, host, input }) {
        const port = ports.find(({ id }) => id === input.portId)
        if (!port) return { go: 'takeBack' }
        await host.ensurePort(await readPortPlan(parts.db.read, port, hostNameOf(server.name)))
        return { go: 'plugCard' }
      },
      async plugCard({ server, ports, host, input }) {
        const port = ports.find(({ id }) => id === input.portId)
        if (!port) return { go: 'takeBack' }
        const { mtu } = await parts.db.read
          .selectFrom('networks')
          .select('mtu')
          .where('id', '=', port.networkId)
          .executeTakeFirstOrThrow()
        const { id: portId, networkId, macAddress } = port
        const card: CardPlan = { portId, networkId, macAddress, mtu }
        await host.ensureCard(server.id, card)
        return { done: true, save: (tx) => showCarrying(tx, server.id, portId) }
      },
      async takeBack({ server, host, input }) {
        await host.removeCard(server.id, input.portId)
        await host.removePort(input.portId)
        return { done: true, save: (tx) => releaseCard(parts, tx, server.id, input.portId) }
      },
    },
    failed: () => ({ go: 'takeBack' }),
    // What the host did not do is in the log; the server runs on, and its next start plugs the card.
    abandoned: async () => {},
  })
}

type DetachStep = 'unplugCard' | 'unplugPort'

/**
 * S27: the rows keep the port until its card is gone, so that a delete at any moment finds it.
 *
 *   unplugCard → unplugPort      detached; or attached as before, when the guest does not let go of the card
 */
export function detachInterface(parts: ActionParts): Action<CardInput, DetachStep, ServerSubject> {
  return serverAction<CardInput, DetachStep>(parts, {
    name: 'detachInterface',
    first: 'unplugCard',
    deadlineMs: DEADLINE_MS,
    steps: {
      async unplugCard({ server, host, input }) {
        await host.removeCard(server.id, input.portId)
        return { go: 'unplugPort' }
      },
      async unplugPort({ server, host, input }) {
        await host.removePort(input.portId)
        return { done: true, save: (tx) => releaseCard(parts, tx, server.id, input.portId) }
      },
    },
    failed: () => ({ done: true }),
    abandoned: async () => {},
  })
}

/** A card of a server that runs carries traffic; the server may have been shut down meanwhile, from inside. */
async function showCarrying(tx: Tx, serverId: string, portId: string): Promise<void> {
  const { vmState } = await tx
    .selectFrom('servers')
    .select('vmState')
    .where('id', '=', serverId)
    .executeTakeFirstOrThrow()
  await tx
    .updateTable('ports')
    .set({ status: vmState === 'stopped' ? 'DOWN' : 'ACTIVE' })
    .where('id', '=', portId)
    .where('deviceId', '=', serverId)
    .execute()
}

/** A port made for the server goes, with its address; one that a user made is free again. Others follow. */
export async function releaseCard(
  parts: Pick<ActionParts, 'networkChanges' | 'clock'>,
  tx: Tx,
  serverId: string,
  portId: string,
): Promise<void> {
  const port = await tx
    .selectFrom('ports')
    .select('isOwnedByServer')
    .where('id', '=', portId)
    .where('deviceId', '=', serverId)
    .executeTakeFirst()
  if (port?.isOwnedByServer) return deletePorts(parts, tx, [portId])
  if (!port) return
  await parts.networkChanges.noteLeaving(tx, { kind: 'port', id: portId })
  await tx.updateTable('ports').set(freed(parts.clock.now())).where('id', '=', portId).execute()
}
