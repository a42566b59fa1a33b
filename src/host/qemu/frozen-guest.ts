/**
 * File systems of a guest held still by its agent, for the moment in which a copy of a disk begins. What was frozen is
 * written down before, so that a guest does not stay frozen when this process is killed in between:
 *
 *   `frozen` written ─► freeze ─► work ─► thaw ─► `frozen` removed
 *
 * A guest without an agent, or whose agent does not answer, is copied as it is: like a machine that lost its power.
 */
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import type { Guest } from './guest.ts'
import { GuestAgent } from './guest-agent.ts'
import { AGENT_CHARDEV } from './qemu-args.ts'
import { readObjects } from './qmp-client.ts'
import type { ServerFiles } from './server-files.ts'

/** How long an agent may take before it is gone on without it. */
const AGENT_MS = 2_000
/** How long an agent that was woken is kept: most copies are done by then, and others may have to speak with it. */
const HOLD_MS = 5_000
/** How often, and how many times, a guest is asked to thaw whose agent did not answer. */
const THAW_AGAIN_MS = 1_000
const THAW_TRIES = 60

/** The agent of a guest, being looked for while whoever needs it prepares the rest. To be disposed. */
export class Freezer implements AsyncDisposable {
  readonly #files: Pick<ServerFiles, 'guestAgent' | 'frozen'>
  #agent: Promise<GuestAgent | undefined>
  readonly #timer: NodeJS.Timeout
  #isLetGo = false
  /** Whether something listens that may be an agent; known long before it has answered. */
  readonly mayFreeze: Promise<boolean>

  /** @param holdMs after how long the agent is left to others, until it is needed. */
  constructor(
    guest: Pick<Guest, 'execute' | 'readStatus'>,
    files: Pick<ServerFiles, 'guestAgent' | 'frozen'>,
    holdMs = HOLD_MS,
  ) {
    this.#files = files
    this.mayFreeze = mayHaveAgent(guest).catch(() => false)
    this.#agent = this.mayFreeze.then((may) => (may ? this.#connect() : undefined))
    this.#timer = setTimeout(() => this.#letGo(), holdMs).unref()
  }

  #connect(): Promise<GuestAgent | undefined> {
    return GuestAgent.connect(this.#files.guestAgent, AGENT_MS, AGENT_MS).catch(() => undefined)
  }

  /** A copy may take hours: passwords, keys and diagnostics of the server must not wait for it. */
  #letGo(): void {
    this.#isLetGo = true
    this.#agent.then((agent) => agent?.[Symbol.dispose]())
  }

  async #takeAgent(): Promise<GuestAgent | undefined> {
    clearTimeout(this.#timer)
    const agent = await this.#agent
    if (!agent || !this.#isLetGo) return agent
    this.#isLetGo = false
    this.#agent = this.#connect()
    return await this.#agent
  }

  /** Does something short while the guest's file systems are still, if they can be; they are let go in any case. */
  async whileFrozen<T>(work: () => Promise<T>): Promise<T> {
    const agent = await this.#takeAgent()
    if (!agent) return await work()
    const files = this.#files
    writeFileSync(files.frozen, '')
    let isBehind = false
    try {
      // Refused or not answered: it may be frozen in part, or soon, and will be thawed.
      await agent.execute('guest-fsfreeze-freeze', {}, AGENT_MS).catch(() => {
        isBehind = true
      })
      return await work()
    } finally {
      if (isBehind) await agent.synchronize(AGENT_MS).catch(() => {})
      const isThawed = await thaw(agent)
      if (isThawed) rmSync(files.frozen, { force: true })
      agent[Symbol.dispose]()
      this.#isLetGo = true
      if (!isThawed) thawLeftover(files).catch(() => {})
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#timer)
    const agent = await this.#agent
    agent?.[Symbol.dispose]()
  }
}

/** A machine that stands still has none: it writes nothing either. */
const mayHaveAgent = async (guest: Pick<Guest, 'execute' | 'readStatus'>): Promise<boolean> =>
  (await hasAgent(guest)) && (await guest.readStatus()) === 'running'

/** Thaws a guest that whoever froze it left so; does nothing for any other. Gives up when its agent stays silent. */
export async function thawLeftover(files: Pick<ServerFiles, 'guestAgent' | 'frozen'>): Promise<void> {
  for (let tries = 0; tries < THAW_TRIES && existsSync(files.frozen); tries++) {
    const agent = await GuestAgent.connect(files.guestAgent, AGENT_MS).catch(() => undefined)
    if (agent) {
      const isThawed = await thaw(agent).finally(() => agent[Symbol.dispose]())
      if (isThawed) return rmSync(files.frozen, { force: true })
    }
    await pause(THAW_AGAIN_MS, undefined, { ref: false })
  }
}

/** Whether the agent says that nothing is frozen any more. */
async function thaw(agent: GuestAgent): Promise<boolean> {
  try {
    await agent.execute('guest-fsfreeze-thaw', {}, AGENT_MS)
    return (await agent.execute('guest-fsfreeze-status', {}, AGENT_MS)) === 'thawed'
  } catch {
    return false
  }
}

/** A guest's port for its agent: something inside has it `open`, nothing has, or the machine has `none`. */
export type AgentPort = 'open' | 'closed' | 'none'

/** @throws Error as `Guest.execute`. Source: QAPI ChardevInfo. */
export async function readAgentPort(guest: Pick<Guest, 'execute'>): Promise<AgentPort> {
  const devices = readObjects(await guest.execute('query-chardev'))
  const device = devices.find(({ label }) => label === AGENT_CHARDEV)
  if (!device) return 'none'
  return device['frontend-open'] === true ? 'open' : 'closed'
}

/** Whether something in the guest has the agent's port open. */
export async function hasAgent(guest: Pick<Guest, 'execute'>): Promise<boolean> {
  return (await readAgentPort(guest)) === 'open'
}
