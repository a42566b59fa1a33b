import { EventEmitter, once } from 'node:events'
import { connect, type Socket } from 'node:net'

/** The agent's own refusal of a command. */
export class AgentError extends Error {
  override readonly name = 'AgentError'
}

/** No answer that we ask for comes near this; more without an end is no agent. */
const LONGEST_ANSWER = 1024 * 1024
/** Ends whatever the other side was about to read or to say. Source: qemu-ga-ref, guest-sync-delimited. */
const SENTINEL = 0xff

/**
 * A conversation with the agent inside a guest: one command at a time, one answer each. There may be none that listens,
 * it may never answer, and it may say anything: whatever is not an answer in time is an error, and nothing else.
 * Source: docs/interop/qemu-ga-ref of QEMU.
 */
export class GuestAgent implements Disposable {
  readonly #socket: Socket
  /** Says `more` when something came, or nothing can come any more. */
  readonly #heard = new EventEmitter()
  #buffered = Buffer.alloc(0)

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on('error', () => socket.destroy())
    socket.on('close', () => this.#heard.emit('more'))
    socket.on('data', (data: Buffer) => {
      this.#buffered = Buffer.concat([this.#buffered, data])
      if (this.#buffered.length > 2 * LONGEST_ANSWER) socket.destroy()
      this.#heard.emit('more')
    })
  }

  /**
   * An agent that answers.
   * @throws Error when none does within `timeoutMs`; another conversation with it may be going on.
   */
  static async connect(path: string, timeoutMs: number): Promise<GuestAgent> {
    const signal = AbortSignal.timeout(timeoutMs)
    const socket = connect({ path })
    const agent = new GuestAgent(socket)
    try {
      await once(socket, 'connect', { signal })
      await agent.#synchronizeUntil(signal)
      return agent
    } catch (error) {
      agent[Symbol.dispose]()
      throw error
    }
  }

  /** Reads over what was said before, to us or to others: an answer that came late. @throws Error as `execute`. */
  async synchronize(timeoutMs: number): Promise<void> {
    await this.#synchronizeUntil(AbortSignal.timeout(timeoutMs))
  }

  async #synchronizeUntil(signal: AbortSignal): Promise<void> {
    const id = Math.floor(Math.random() * 2 ** 31)
    this.#socket.write(Buffer.from([SENTINEL]))
    this.#say('guest-sync-delimited', { id })
    for (;;) {
      const line = await this.#readLine(signal)
      const answer = parse(line.subarray(line.lastIndexOf(SENTINEL) + 1))
      if (answer?.return === id) return
    }
  }

  /**
   * @param timeoutMs an integer.
   * @throws AgentError when the agent refuses; Error when it does not answer in time. Its answer may still come:
   * `synchronize` is what may follow.
   */
  async execute(command: string, args: object, timeoutMs: number): Promise<unknown> {
    const signal = AbortSignal.timeout(timeoutMs)
    this.#say(command, args)
    const answer = parse(await this.#readLine(signal))
    if (!answer) throw new Error('the guest agent answers no JSON')
    if (answer.error !== undefined) throw new AgentError(JSON.stringify(answer.error).slice(0, 500))
    return answer.return
  }

  [Symbol.dispose](): void {
    this.#socket.destroy()
  }

  #say(command: string, args: object): void {
    this.#socket.write(`${JSON.stringify({ execute: command, arguments: args })}\n`)
  }

  async #readLine(signal: AbortSignal): Promise<Buffer> {
    for (;;) {
      const end = this.#buffered.indexOf(0x0a)
      if (end >= 0) {
        const line = this.#buffered.subarray(0, end)
        this.#buffered = this.#buffered.subarray(end + 1)
        return line
      }
      if (this.#buffered.length > LONGEST_ANSWER) throw new Error('the guest agent says too much')
      if (this.#socket.destroyed) throw new Error('the guest agent is gone')
      await once(this.#heard, 'more', { signal })
    }
  }
}

function parse(line: Buffer): { return?: unknown; error?: unknown } | undefined {
  try {
    const value: unknown = JSON.parse(line.toString('utf8'))
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}
