import type { Clock } from '../../lib/clock.ts'
import { type GuestHealth, NO_HEALTH } from '../guest-agent-host.ts'
import { HostError } from '../host-driver.ts'
import type { MemoryMachine } from './memory-machine.ts'

/** The agent inside a guest, and what it was told; it lives on the disk, and is gone with it. */
export interface MemoryAgent {
  /** `silent` is as good as none; `garbage` answers what nobody understands; `refuses` says no to all it is told. */
  mood: 'answers' | 'silent' | 'refuses' | 'garbage'
  /** Users that the guest does not have; it has all others. */
  missingUsers: Set<string>
  /** By user. */
  passwords: Map<string, string>
  /** Lines of `authorized_keys`, by user. */
  keys: Map<string, string[]>
  /** When its clock was last set, epoch milliseconds. */
  clockSetAt: number | undefined
  /** What it tells of itself while it answers. */
  health: Omit<GuestHealth, 'agent'>
}

export const newMemoryAgent = (): MemoryAgent => ({
  mood: 'answers',
  missingUsers: new Set(),
  passwords: new Map(),
  keys: new Map(),
  clockSetAt: undefined,
  health: {
    version: '7.2.0',
    hostName: 'memory-guest',
    operatingSystem: 'Memory 1',
    fileSystems: 'thawed',
    clockOffsetMs: 0,
    interfaces: [],
  },
})

/** The promises of `GuestAgentHost` without guests. */
export class MemoryAgents {
  readonly #machine: MemoryMachine
  readonly #clock: Clock

  constructor(machine: MemoryMachine, clock: Clock) {
    this.#machine = machine
    this.#clock = clock
  }

  setGuestPassword(serverId: string, userName: string, password: string): void {
    this.#agentWith(serverId, userName).passwords.set(userName, password)
  }

  changeGuestKeys(serverId: string, userName: string, { add, remove }: { add: string[]; remove: string[] }): void {
    const { keys } = this.#agentWith(serverId, userName)
    const kept = (keys.get(userName) ?? []).filter((key) => add.includes(key) || !remove.includes(key))
    keys.set(userName, [...new Set([...kept, ...add])])
  }

  setGuestClock(serverId: string): void {
    this.#agent(serverId).clockSetAt = this.#clock.now()
  }

  readGuestHealth(serverId: string): GuestHealth {
    const server = this.#machine.servers.get(serverId)
    if (server?.power !== 'on' || !server.plan?.hardware.hasAgent) return { ...NO_HEALTH, agent: 'none' }
    const { mood, health } = server.agent
    if (mood === 'silent' || mood === 'garbage') return { ...NO_HEALTH, agent: 'silent' }
    return { ...(mood === 'refuses' ? NO_HEALTH : structuredClone(health)), agent: 'answers' }
  }

  #agentWith(serverId: string, userName: string): MemoryAgent {
    const agent = this.#agent(serverId)
    if (!agent.missingUsers.has(userName)) return agent
    throw new HostError('agentRefused', `The guest agent inside the server refused: there is no user ${userName}`)
  }

  #agent(serverId: string): MemoryAgent {
    const server = this.#machine.servers.get(serverId)
    if (server?.power !== 'on') throw new HostError('notRunning', 'The server is not running.')
    if (!server.plan?.hardware.hasAgent) throw new HostError('noAgent', 'The server has no port for a guest agent.')
    const { agent } = server
    if (agent.mood === 'refuses') throw new HostError('agentRefused', 'The guest agent inside the server refused.')
    if (agent.mood === 'answers') return agent
    throw new HostError('noAgent', 'The guest agent inside the server does not answer.')
  }
}
