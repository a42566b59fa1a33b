/**
 * What a host asks of the systems inside its guests. A guest may be anything: each conversation has a deadline, what it
 * says is bounded, read by known members only and never passed on as it came, and a password it was told is in no
 * message or log of ours.
 *
 * A server's other verbs need not wait for these: a guest that ends meanwhile ends the conversation with it.
 */
import { type GuestAgentHost, type GuestHealth, NO_HEALTH } from '../guest-agent-host.ts'
import { HostError } from '../host-driver.ts'
import { type AgentPort, readAgentPort } from './frozen-guest.ts'
import type { Guest } from './guest.ts'
import { AgentError, GuestAgent, refusalWithout } from './guest-agent.ts'
import { readHealth } from './guest-health.ts'
import { keyChanges } from './guest-keys.ts'
import type { Guests } from './guests.ts'
import { SharedReading } from './shared-reading.ts'

/** How long an agent may take to begin to answer. */
const GREETING_MS = 3_000
/** How long it may take for a command: inside, a program is started, on a machine that may be slow. */
const COMMAND_MS = 15_000

const notRunning = (): HostError => new HostError('notRunning', 'The server is not running.')

const noAgent = (message: string, cause?: unknown): HostError => new HostError('noAgent', message, { cause })

const NO_PORT = 'The server has no port for a guest agent; its image says so (hw_qemu_guest_agent).'
const NOBODY = 'No guest agent runs inside the server. Install the package qemu-guest-agent there, and start it.'
const NO_ANSWER = 'The guest agent inside the server does not answer.'

export class GuestTalks implements GuestAgentHost {
  readonly #guests: Guests
  readonly #health = new SharedReading<GuestHealth>()

  constructor(guests: Guests) {
    this.#guests = guests
  }

  async setGuestPassword(serverId: string, userName: string, password: string): Promise<void> {
    const base64 = Buffer.from(password, 'utf8').toString('base64')
    const args = { username: userName, password: base64, crypted: false }
    await this.#talk(serverId, [password, base64], (agent) =>
      agent.execute('guest-set-user-password', args, COMMAND_MS),
    )
  }

  async changeGuestKeys(serverId: string, userName: string, keys: { add: string[]; remove: string[] }): Promise<void> {
    const username = userName
    await this.#talk(serverId, [], async (agent) => {
      // Refused when there is no such file, which the user may do without; and whoever is no user is refused below.
      const present = await agent
        .execute('guest-ssh-get-authorized-keys', { username }, COMMAND_MS)
        .catch(emptyIfRefused)
      const { add, remove } = keyChanges((present as { keys?: unknown } | null)?.keys, keys)
      await agent.execute('guest-ssh-add-authorized-keys', { username, keys: add }, COMMAND_MS)
      if (remove.length === 0) return
      await agent.execute('guest-ssh-remove-authorized-keys', { username, keys: remove }, COMMAND_MS)
    })
  }

  async setGuestClock(serverId: string): Promise<void> {
    // Nanoseconds; a double holds them to a quarter of a microsecond, which the way there takes a thousand times.
    await this.#talk(serverId, [], (agent) =>
      agent.execute('guest-set-time', { time: Date.now() * 1_000_000 }, COMMAND_MS),
    )
  }

  readGuestHealth(serverId: string): Promise<GuestHealth> {
    return this.#health.read(serverId, () => this.#readHealth(serverId))
  }

  async #readHealth(serverId: string): Promise<GuestHealth> {
    const guest = this.#guests.find(serverId)
    const port = guest ? await readPort(guest) : 'none'
    if (!guest || port === 'none') return { ...NO_HEALTH, agent: 'none' }
    if (port === 'closed' || (await guest.readStatus()) !== 'running') return { ...NO_HEALTH, agent: 'silent' }
    try {
      using agent = await GuestAgent.connect(this.#guests.files(serverId).guestAgent, GREETING_MS)
      return await readHealth(agent)
    } catch {
      return { ...NO_HEALTH, agent: 'silent' }
    }
  }

  /**
   * Has a conversation with the agent of a guest.
   * @param secrets what no message may hold, whatever the guest says.
   * @throws HostError `notRunning`, `noAgent`, `agentRefused`.
   */
  async #talk(serverId: string, secrets: string[], work: (agent: GuestAgent) => Promise<unknown>): Promise<void> {
    const guest = this.#guests.find(serverId)
    if (guest?.pid === undefined || (await guest.readStatus()) === 'shutdown') throw notRunning()
    try {
      const port = await readPort(guest)
      if (port === 'none') throw noAgent(NO_PORT)
      if (port === 'closed') throw noAgent(NOBODY)
      using agent = await GuestAgent.connect(this.#guests.files(serverId).guestAgent, GREETING_MS)
      await work(agent)
    } catch (error) {
      this.#guests.demandHeld()
      if (guest.pid === undefined) throw notRunning()
      if (error instanceof HostError) throw error
      if (!(error instanceof AgentError)) throw noAgent(NO_ANSWER, error)
      const reason = refusalWithout(secrets, error)
      // Without the cause: that is what the guest said.
      throw new HostError('agentRefused', `The guest agent inside the server refused: ${reason}`)
    }
  }
}

const readPort = (guest: Guest): Promise<AgentPort> => readAgentPort(guest).catch(() => 'closed' as const)

function emptyIfRefused(error: unknown): null {
  if (error instanceof AgentError) return null
  throw error
}
