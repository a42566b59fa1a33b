/** Consoles of servers, as `POST …/action` gives them out: links that open one, and what was said on one. */
import { type TSchema, Type } from 'typebox'
import type { Cloud } from '../cloud.ts'
import { type ConsoleType, consoleUrl, createConsole } from '../consoles/console-store.ts'
import { ApiError } from '../http/api-error.ts'
import type { Caller } from '../http/policy.ts'
import { type ActionCall, type ActionRow, row } from './action-row.ts'
import { getServer } from './server-store.ts'

/** A digit string where clients send one. */
const Length = Type.Union([Type.Integer({ minimum: -1 }), Type.String({ pattern: '^(-1|[0-9]{1,9})$' }), Type.Null()])

const ConsoleWish = Type.Object({ type: Type.String() })

export const CONSOLE_ROWS: Record<string, ActionRow> = {
  'os-getVNCConsole': row<TSchema, { type: string }>(ConsoleWish, 'servers:console', 202, (call) =>
    openConsole(call, 'novnc', 'get_vnc_console'),
  ),
  'os-getSerialConsole': row<TSchema, { type: string }>(ConsoleWish, 'servers:console', 200, (call) =>
    openConsole(call, 'serial', 'get_serial_console'),
  ),
  'os-getConsoleOutput': row<TSchema, { length?: number | string | null } | null>(
    Type.Union([Type.Object({ length: Type.Optional(Length) }), Type.Null()]),
    'servers:console',
    200,
    readConsole,
  ),
}

async function openConsole(
  { cloud, caller, links, serverId, body }: ActionCall<{ type: string }>,
  type: ConsoleType,
  spoken: string,
) {
  if (body.type !== type) {
    throw new ApiError('badRequest', `Console type '${body.type}' is not available; use ${type}.`)
  }
  return { console: { type, url: await acceptConsole(cloud, caller, { base: links.base, serverId, type, spoken }) } }
}

/**
 * A link that opens one console of a server, once. A server that is off gets one too: it is good once the server runs.
 * @param wish `base` is scheme and host of the link; `spoken` is what messages call the request.
 * @throws ApiError itemNotFound; conflictingRequest for a server that never ran, or is being deleted.
 * Source: nova/compute/api.py, get_vnc_console and get_serial_console.
 */
export async function acceptConsole(
  cloud: Cloud,
  caller: Caller,
  { base, serverId, type, spoken }: { base: string; serverId: string; type: ConsoleType; spoken: string },
): Promise<string> {
  const server = await getServer(cloud.db.read, caller, serverId)
  if (server.hostName === null || server.launchedAt === null) {
    throw new ApiError('conflictingRequest', `Instance ${serverId} is not ready yet.`)
  }
  if (server.taskState === 'deleting') {
    throw new ApiError(
      'conflictingRequest',
      `Cannot '${spoken}' instance ${serverId} while it is in task_state deleting.`,
    )
  }
  const lifetimeMs = cloud.config.consoleMinutes * 60_000
  const token = await cloud.db.transaction((tx) =>
    createConsole(tx, { serverId, type, now: cloud.clock.now(), lifetimeMs }),
  )
  return consoleUrl(base, type, token)
}

async function readConsole({ cloud, caller, serverId, body }: ActionCall<{ length?: number | string | null } | null>) {
  const server = await getServer(cloud.db.read, caller, serverId)
  const host = server.hostName === null ? undefined : cloud.hosts.get(server.hostName)
  if (!host) throw new ApiError('conflictingRequest', `Instance ${serverId} is not ready yet.`)
  const length = Number(body?.length ?? -1)
  return { output: await host.readConsole(serverId, length < 0 ? undefined : length) }
}
