import { availableParallelism } from 'node:os'
import { FairSlots } from '../http/fair-slots.ts'
import { LoginThrottle } from './login-throttle.ts'

/** What all logins of one process pass: how often somebody may guess, and how much is computed at once. */
export class LoginGate {
  readonly throttle = new LoginThrottle()
  /** A password takes a core for tens of milliseconds: half the cores are left to everything else. */
  readonly slots = new FairSlots({
    what: 'logins',
    slots: Math.max(1, Math.floor(availableParallelism() / 2)),
    waitingPerKey: 100,
    waiting: 400,
  })
}
