/**
 * What `POST …/action` takes from clients of Nova v2.1: the rows of the table that both dialects share, with what is
 * different here.
 * Source: shared/spec/nova-v21.md, section 3; shared/spec/faults.md, section 6.
 */
import { Type } from 'typebox'
import type { ActionRow } from './action-row.ts'
import { ACTION_TABLE } from './server-actions.ts'

/** Keys of the table that Nova has, with the status where it is another. */
const SHARED: Readonly<Record<string, Partial<Pick<ActionRow, 'status' | 'body' | 'show'>>>> = {
  reboot: { body: Type.Object({ type: Type.Enum(['HARD', 'Hard', 'hard', 'SOFT', 'Soft', 'soft']) }) },
  'os-start': {},
  'os-stop': {},
  'os-getVNCConsole': { status: 200, body: Type.Object({ type: Type.Enum(['novnc', 'xvpvnc']) }) },
  'os-getSerialConsole': { status: 200 },
  'os-getConsoleOutput': {},
  changePassword: {},
  // The image is named in the Location.
  createImage: { show: () => undefined },
  createBackup: { show: () => undefined },
  addFixedIp: {},
  removeFixedIp: {},
  addFloatingIp: {},
  removeFloatingIp: {},
  addSecurityGroup: {},
  removeSecurityGroup: {},
}

export const NOVA_ACTIONS: Readonly<Record<string, ActionRow>> = Object.fromEntries(
  Object.entries(SHARED).flatMap(([key, change]) => {
    const row = ACTION_TABLE[key]
    return row ? [[key, { ...row, ...change }]] : []
  }),
)
