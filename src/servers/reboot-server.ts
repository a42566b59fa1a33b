import type { Action } from '../actions/action.ts'
import {
  type ActionParts,
  endInError,
  type ServerSubject,
  serverAction,
  settledLaunched,
  turnOn,
} from './server-action.ts'

/** Body of `POST /servers/{id}/action` under `reboot`. SOFT asks the guest, HARD cuts the power. */
export interface RebootInput {
  type: 'SOFT' | 'HARD'
}
type Step = 'askGuest' | 'awaitPowerOff' | 'powerOff' | 'powerOn'

/** How long a guest may take to shut down before its power is cut, in milliseconds. */
const GRACE_MS = 60_000
const DEADLINE_MS = 30 * 60_000

const bySpeed = (soft: 'rebooting' | 'reboot_pending' | 'reboot_started') => (input: RebootInput) =>
  input.type === 'HARD' ? (`${soft}_hard` as const) : soft

/**
 * Reboots a server in place; disks, ports and host stay.
 *
 *   SOFT  askGuest → awaitPowerOff → powerOn      (→ powerOff first, when GRACE_MS runs out)
 *   HARD  askGuest → powerOff → powerOn
 */
export function rebootServer(parts: ActionParts): Action<RebootInput, Step, ServerSubject> {
  return serverAction<RebootInput, Step>(parts, {
    name: 'reboot',
    first: 'askGuest',
    deadlineMs: DEADLINE_MS,
    taskStates: {
      askGuest: bySpeed('rebooting'),
      awaitPowerOff: bySpeed('reboot_pending'),
      powerOff: bySpeed('reboot_pending'),
      powerOn: bySpeed('reboot_started'),
    },
    steps: {
      async askGuest({ server, host, input }) {
        if (input.type === 'HARD') return { go: 'powerOff' }
        await host.pressPowerButton(server.id)
        return { go: 'awaitPowerOff' }
      },
      async awaitPowerOff({ server, host, ageMs }) {
        const power = await host.readPower(server.id)
        if (power !== 'on' && power !== 'paused') return { go: 'powerOn' }
        return ageMs > GRACE_MS ? { go: 'powerOff' } : { waitMs: 500 }
      },
      async powerOff({ server, host }) {
        await host.ensureOff(server.id)
        return { go: 'powerOn' }
      },
      async powerOn(subject) {
        if ((await turnOn(parts, subject)) === 'queued') return { waitMs: 1_000 }
        return { done: true, save: settledLaunched(parts, subject.server, 'on') }
      },
    },
    failed: endInError(parts),
  })
}
