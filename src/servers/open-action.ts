import type { AnyAction } from '../actions/action.ts'
import { acceptAction, supersedeAction } from '../actions/journal.ts'
import type { Cloud } from '../cloud.ts'
import type { Tx } from '../db/database.ts'
import type { Row, TaskState } from '../db/schema.ts'
import { ApiError } from '../http/api-error.ts'
import type { Caller } from '../http/policy.ts'
import { demandNoDeviceChange } from './device-changes.ts'
import { assertStartable, type StateBoundAction } from './server-state.ts'
import { getServer, swapServer } from './server-store.ts'

/** How often a server that changes under our eyes is looked at again. */
const LOOKS = 5

/** An action that shows a task state. */
export interface TaskToOpen<Input> {
  name: StateBoundAction
  taskState: TaskState
  action: AnyAction
  input: Input
  /** What of it is secret, for as long as the action is open. */
  sealedSecret?: string
}

/**
 * Opens an action that needs a certain state, in the transaction of whatever belongs to it: of two at once, one gets in.
 * @returns the server as it was. Call it within `afterDeviceChanges`.
 * @throws ApiError itemNotFound; conflictingRequest for the wrong state, a lock, or an action under way.
 */
export async function openAction<Input>(
  cloud: Cloud,
  tx: Tx,
  caller: Caller,
  serverId: string,
  { name, taskState, action, input, sealedSecret }: TaskToOpen<Input>,
): Promise<Row<'servers'>> {
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
  else await demandNoDeviceChange(tx, serverId)
  await acceptAction(tx, action, serverId, input, caller, now, sealedSecret)
  tx.onCommit(() => cloud.runner.nudge())
  return server
}
