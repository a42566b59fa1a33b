/** Starting, stopping and shutting down: the actions that only move the power. */
import type { Action } from '../actions/action.ts'
import { ApiError } from '../http/api-error.ts'
import { setPortStatus } from '../ports/port-store.ts'
import {
  type ActionParts,
  bootSteps,
  endInError,
  faultOf,
  OFF,
  plugPorts,
  type ServerSubject,
  serverAction,
  settled,
} from './server-action.ts'
import { updateServer } from './server-store.ts'

const DEADLINE_MS = 30 * 60_000

/** `os-start`:  plugPorts → powerOn → awaitRunning      active */
export function startServer(parts: ActionParts): Action<null, 'plugPorts' | 'powerOn' | 'awaitRunning', ServerSubject> {
  return serverAction<null, 'plugPorts' | 'powerOn' | 'awaitRunning'>(parts, {
    name: 'start',
    first: 'plugPorts',
    deadlineMs: DEADLINE_MS,
    taskStates: { plugPorts: 'powering-on', powerOn: 'powering-on', awaitRunning: 'powering-on' },
    steps: {
      async plugPorts(subject) {
        await plugPorts(parts, subject)
        return { go: 'powerOn' }
      },
      ...bootSteps(parts),
    },
    // A server that would not start is where it was; the fault says why.
    failed: ({ server }, error) => ({
      done: true,
      save: settled(parts, server.id, { ...OFF, ...faultOf(error, parts.clock.now()) }),
    }),
  })
}

/** `os-stop`, which cuts the power:  powerOff      stopped */
export function stopServer(parts: ActionParts): Action<null, 'powerOff', ServerSubject> {
  return serverAction<null, 'powerOff'>(parts, {
    name: 'stop',
    first: 'powerOff',
    deadlineMs: DEADLINE_MS,
    taskStates: { powerOff: 'powering-off' },
    steps: {
      async powerOff({ server, host }) {
        await host.ensureOff(server.id)
        return { done: true, save: settledOff(parts, server.id) }
      },
    },
    failed: endInError(parts),
  })
}

/** How long a guest may take to shut down, in milliseconds. */
const PATIENCE_MS = 2 * 60_000
/** A press that meets a guest which is still booting is lost, so it is repeated; in milliseconds. */
const PRESS_AGAIN_MS = 15_000

/**
 * `os-shutdown`, which asks the guest and never forces it.
 *
 *   askGuest ⇄ awaitOff      stopped; or active as before, when the guest does not obey within PATIENCE_MS
 */
export function shutdownServer(parts: ActionParts): Action<null, 'askGuest' | 'awaitOff', ServerSubject> {
  return serverAction<null, 'askGuest' | 'awaitOff'>(parts, {
    name: 'shutdown',
    first: 'askGuest',
    deadlineMs: DEADLINE_MS,
    taskStates: { askGuest: 'powering-off', awaitOff: 'powering-off' },
    steps: {
      async askGuest({ server, host }) {
        await host.pressPowerButton(server.id)
        return { go: 'awaitOff' }
      },
      async awaitOff({ server, host, ageMs, stepAgeMs }) {
        const power = await host.readPower(server.id)
        if (power !== 'on' && power !== 'paused') return { done: true, save: settledOff(parts, server.id) }
        if (ageMs > PATIENCE_MS) {
          throw new ApiError(
            'conflictingRequest',
            `The guest did not shut down within ${PATIENCE_MS / 1000} s; os-stop cuts its power.`,
          )
        }
        return stepAgeMs > PRESS_AGAIN_MS ? { go: 'askGuest' } : { waitMs: 500 }
      },
    },
    failed: ({ server }) => ({ done: true, save: settled(parts, server.id, {}) }),
  })
}

/** The power is off: settles the row and its ports. */
function settledOff(parts: ActionParts, serverId: string) {
  const now = parts.clock.now()
  return async (tx: Parameters<typeof updateServer>[0]) => {
    await updateServer(tx, serverId, { ...OFF, taskState: null }, now)
    await setPortStatus(tx, serverId, 'DOWN')
  }
}
