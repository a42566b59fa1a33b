/** The durable actions of servers, and what `POST …/action` takes: one row each. */
import { type TSchema, Type } from 'typebox'
import type { AnyAction } from '../actions/action.ts'
import { acceptAction, supersedeAction } from '../actions/journal.ts'
import { FLOATING_IP_ROWS } from '../compute-network/floating-ip-actions.ts'
import { SECURITY_GROUP_ROWS } from '../compute-network/security-group-actions.ts'
import { consoleUrl, createConsole } from '../consoles/console-store.ts'
import type { Tx } from '../db/database.ts'
import type { Row, TaskState } from '../db/schema.ts'
import { ApiError } from '../http/api-error.ts'
import { type ActionCall, type ActionRow, row } from './action-row.ts'
import { buildServer } from './build-server.ts'
import { afterCardChanges, demandNoCardChange } from './card-changes.ts'
import { attachInterface, detachInterface } from './change-cards.ts'
import { deleteServer } from './delete-server.ts'
import { FIXED_IP_ROWS } from './fixed-ip-actions.ts'
import { shutdownServer, startServer, stopServer } from './power-server.ts'
import { rebootServer } from './reboot-server.ts'
import type { ActionParts } from './server-action.ts'
import { assertStartable, SPOKEN, type StateBoundAction } from './server-state.ts'
import { getServer, swapServer } from './server-store.ts'

/** All durable actions of servers, by a name of their own. */
export function serverActions(parts: ActionParts) {
  return {
    create: buildServer(parts),
    delete: deleteServer(parts),
    start: startServer(parts),
    stop: stopServer(parts),
    shutdown: shutdownServer(parts),
    reboot: rebootServer(parts),
    attachInterface: attachInterface(parts),
    detachInterface: detachInterface(parts),
  }
}
export type ServerActions = ReturnType<typeof serverActions>

/** A digit string where clients send one. */
const Length = Type.Union([Type.Integer({ minimum: -1 }), Type.String({ pattern: '^(-1|[0-9]{1,9})$' }), Type.Null()])

export const ACTION_TABLE: Record<string, ActionRow> = {
  reboot: row<TSchema, { type: string }>(
    Type.Object({
      type: Type.String({ pattern: '^([Hh][Aa][Rr][Dd]|[Ss][Oo][Ff][Tt])$', description: 'HARD or SOFT' }),
    }),
    'servers:action',
    202,
    async (call) => {
      const type = call.body.type.toUpperCase() as 'SOFT' | 'HARD'
      const [action, taskState] =
        type === 'HARD' ? (['hardReboot', 'rebooting_hard'] as const) : (['softReboot', 'rebooting'] as const)
      await acceptServerAction(call, action, taskState, call.cloud.actions.reboot, { type })
    },
  ),
  'os-start': row(Type.Unknown(), 'servers:action', 202, (call) =>
    acceptServerAction(call, 'start', 'powering-on', call.cloud.actions.start, null),
  ),
  'os-stop': row(Type.Unknown(), 'servers:action', 202, (call) =>
    acceptServerAction(call, 'stop', 'powering-off', call.cloud.actions.stop, null),
  ),
  'os-shutdown': row(Type.Unknown(), 'servers:action', 202, (call) =>
    acceptServerAction(call, 'shutdown', 'powering-off', call.cloud.actions.shutdown, null),
  ),
  'os-getVNCConsole': row<TSchema, { type: string }>(
    Type.Object({ type: Type.String() }),
    'servers:console',
    202,
    openConsole,
  ),
  'os-getConsoleOutput': row<TSchema, { length?: number | string | null } | null>(
    Type.Union([Type.Object({ length: Type.Optional(Length) }), Type.Null()]),
    'servers:console',
    200,
    readConsole,
  ),
  ...FIXED_IP_ROWS,
  ...FLOATING_IP_ROWS,
  ...SECURITY_GROUP_ROWS,
}

/** How often a server that changes under our eyes is looked at again. */
const LOOKS = 5

/**
 * Accepts an action that needs a certain state: of two at once, one is accepted.
 * @throws ApiError itemNotFound; conflictingRequest for the wrong state, a lock, or an action under way.
 */
async function acceptServerAction<Input>(
  { cloud, caller, serverId }: ActionCall<unknown>,
  name: StateBoundAction,
  taskState: TaskState,
  action: AnyAction,
  input: Input,
): Promise<void> {
  const accept = async (tx: Tx) => {
    const now = cloud.clock.now()
    let server: Row<'servers'> | undefined
    for (let looks = 0; server === undefined; looks++) {
      if (looks === LOOKS) {
        throw new ApiError('conflictingRequest', `Instance ${serverId} changed meanwhile; look at it and ask again.`)
      }
      const read = await getServer(tx, caller, serverId)
      assertStartable(read, name, caller.isAdmin)
      // A rename may have come between the look and the write: only another state is a reason to refuse.
      if (await swapServer(tx, read, { taskState }, now)) server = read
    }
    // Only a hard reboot gets here while something is open: it takes over a reboot that hangs.
    if (server.taskState !== null) await supersedeAction(tx, serverId, now)
    else await demandNoCardChange(tx, serverId)
    await acceptAction(tx, action, serverId, input, caller, now)
    tx.onCommit(() => cloud.runner.nudge())
  }
  await afterCardChanges(cloud, serverId, SPOKEN[name], () => cloud.db.transaction(accept))
}

async function openConsole({ cloud, caller, links, serverId, body }: ActionCall<{ type: string }>) {
  if (body.type !== 'novnc')
    throw new ApiError('badRequest', `Console type '${body.type}' is not available; use novnc.`)
  const server = await getServer(cloud.db.read, caller, serverId)
  if (server.hostName === null || server.launchedAt === null) {
    throw new ApiError('conflictingRequest', `Instance ${serverId} is not ready yet.`)
  }
  if (server.taskState === 'deleting') {
    throw new ApiError(
      'conflictingRequest',
      `Cannot 'get_vnc_console' instance ${serverId} while it is in task_state deleting.`,
    )
  }
  const token = await cloud.db.transaction((tx) =>
    createConsole(tx, { serverId, now: cloud.clock.now(), lifetimeMs: cloud.config.consoleMinutes * 60_000 }),
  )
  return { console: { type: 'novnc', url: consoleUrl(links.base, token) } }
}

async function readConsole({ cloud, caller, serverId, body }: ActionCall<{ length?: number | string | null } | null>) {
  const server = await getServer(cloud.db.read, caller, serverId)
  const host = server.hostName === null ? undefined : cloud.hosts.get(server.hostName)
  if (!host) throw new ApiError('conflictingRequest', `Instance ${serverId} is not ready yet.`)
  const length = Number(body?.length ?? -1)
  return { output: await host.readConsole(serverId, length < 0 ? undefined : length) }
}
