import { randomUUID } from 'node:crypto'
import type { Reader, Tx } from '../db/database.ts'
import { hashSecret } from '../lib/ids.ts'

/** How long a token that can no longer be used is remembered, so that its owner is told why; in milliseconds. */
const REMEMBERED_MS = 24 * 3_600_000

/** What a token opens: the screen, or the serial console. A token of one does not open the other. */
export type ConsoleType = 'novnc' | 'serial'

/** What a token is good for at the moment. Only `ready` opens a console. */
export type ConsoleState = 'ready' | 'used' | 'expired' | 'unknown'

export interface Console {
  state: ConsoleState
  /** Undefined when the token is unknown. */
  serverId: string | undefined
  /** Where the server is; undefined when it is nowhere, or deleted. */
  hostName: string | undefined
}

/**
 * A token that opens the console of a server once, within `lifetimeMs`. Only its hash is stored.
 * @returns a random UUID, the form that clients know: 122 bits, which for minutes is plenty.
 */
export async function createConsole(
  tx: Tx,
  wish: { serverId: string; type: ConsoleType; now: number; lifetimeMs: number },
): Promise<string> {
  const { serverId, type, now, lifetimeMs } = wish
  const token = randomUUID()
  await tx
    .deleteFrom('consoleTokens')
    .where('expiresAt', '<', now - REMEMBERED_MS)
    .execute()
  await tx
    .insertInto('consoleTokens')
    .values({
      hash: hashSecret(token),
      serverId,
      type,
      createdAt: now,
      expiresAt: now + lifetimeMs,
      usedAt: null,
    })
    .execute()
  return token
}

/**
 * The address of a console: of a screen the page that a person opens in a browser, of a serial console the WebSocket.
 * @param base scheme and host, without a slash at the end.
 * Source: shared/spec/uos-compute.md, S25; Nova's os-getSerialConsole.
 */
export const consoleUrl = (base: string, type: ConsoleType, token: string): string =>
  type === 'novnc' ? `${base}/vnc/vnc_auto.html?token=${token}` : `${base.replace(/^http/, 'ws')}/serial?token=${token}`

/** Looks a token of this type up and leaves it as it is. */
export async function findConsole(read: Reader, type: ConsoleType, token: string, now: number): Promise<Console> {
  const row = await read
    .selectFrom('consoleTokens')
    .innerJoin('servers', 'servers.id', 'consoleTokens.serverId')
    .select(['consoleTokens.serverId', 'usedAt', 'expiresAt', 'servers.hostName', 'servers.deletedAt'])
    .where('hash', '=', hashSecret(token))
    .where('type', '=', type)
    .executeTakeFirst()
  if (!row) return { state: 'unknown', serverId: undefined, hostName: undefined }
  const state = row.usedAt !== null ? 'used' : row.expiresAt <= now ? 'expired' : 'ready'
  const hostName = row.deletedAt === null ? (row.hostName ?? undefined) : undefined
  return { state, serverId: row.serverId, hostName }
}

/** Uses a token up. False when somebody was faster, or it is not ready. */
export async function useConsole(tx: Tx, type: ConsoleType, token: string, now: number): Promise<boolean> {
  const result = await tx
    .updateTable('consoleTokens')
    .set({ usedAt: now })
    .where('hash', '=', hashSecret(token))
    .where('type', '=', type)
    .where('usedAt', 'is', null)
    .where('expiresAt', '>', now)
    .executeTakeFirst()
  return result.numUpdatedRows === 1n
}
