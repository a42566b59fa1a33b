/**
 * What happens while a network card or a disk of a server is being plugged or unplugged, or its guest is told of keys.
 * Users see no task of it, and it lasts less than a second, or as long as a guest takes to boot. Nobody who asks for the
 * next thing shall have to know of it: requests wait a moment for it to end, and are refused only after that.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { findOpenAction } from '../actions/journal.ts'
import type { Cloud } from '../cloud.ts'
import type { Tx } from '../db/database.ts'
import { ApiError } from '../http/api-error.ts'

/** How long a request waits for the change under way, in milliseconds. */
const PATIENCE_MS = 5_000
const LOOK_EVERY_MS = 20

/** Another action is open on the server that its task state does not show: a card or disk of it is being changed. */
class DeviceChangeUnderWay extends Error {
  override readonly name = 'DeviceChangeUnderWay'
}

/** @throws an error that `afterDeviceChanges` waits for, when the server has an open action. */
export async function demandNoDeviceChange(tx: Tx, serverId: string): Promise<void> {
  if (await findOpenAction(tx, serverId)) throw new DeviceChangeUnderWay()
}

/**
 * Runs `accept`, again and again while a card or disk of the server is being changed. It has to call `demandNoDeviceChange`, once
 * it knows that nothing else speaks against the request, and may do nothing outside of its transaction.
 * @param spoken how messages call what was asked for.
 * @throws ApiError conflictingRequest when the change takes longer than a request can wait.
 */
export async function afterDeviceChanges<T>(
  { db }: Pick<Cloud, 'db'>,
  serverId: string,
  spoken: string,
  accept: () => Promise<T>,
): Promise<T> {
  const deadline = performance.now() + PATIENCE_MS
  for (;;) {
    try {
      return await accept()
    } catch (error) {
      // A duplicate is an action that was opened between the look and the write.
      if (!(error instanceof DeviceChangeUnderWay) && !db.isDuplicate(error)) throw error
      if (performance.now() > deadline) {
        throw new ApiError(
          'conflictingRequest',
          `Cannot '${spoken}' instance ${serverId} while a network card, disk or key of it is being attached or detached.`,
          { cause: error },
        )
      }
    }
    await pause(LOOK_EVERY_MS)
  }
}
