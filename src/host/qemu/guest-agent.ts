import { EventEmitter, once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { Turns } from './turns.ts'

/** The agent's own refusal of a command; the message is what it said, cut and cleaned, and not to be trusted. */
export class AgentError extends Error {
  override readonly name = 'AgentError'
  /** Whether it said more. */
  readonly isCut: boolean

  constructor(message: string, isCut: boolean) {
    super(message)
    this.isCut = isCut
  }
}

/** No answer that we ask for comes near this; more without an end is no agent. */
const LONGEST_ANSWER = 1024 * 1024
/** All that is listened to in one conversation: a guest that says more keeps this process busy and is left. */
const LONGEST_CONVERSATION = 4 * LONGEST_ANSWER
/** Answers that may come before the one to a `guest-sync-delimited`: those to earlier ones that came too late. */
const LATE_ANSWERS = 100
/** Ends whatever the other side was about to read or to say. Source: qemu-ga-ref, guest-sync-delimited. */
const SENTINEL = 0xff
/** How long a conversation may take to begin while another with the same guest goes on: longer than any of them. */
const TURN_MS = 30_000

/** QEMU serves one caller an agent; a second one would wait for its answers unseen, and break in late. */
const turns = new Turns()

/**
 * A conversation with the agent inside a guest: one command at a time, one answer each; and one conversation a guest at
 * a time, whoever in this process asks. There may be no agent that listens, it may never answer, and it may say
 * anything: whatever is not an answer in time is an error, and nothing else.
 * Source: docs/interop/qemu-ga-ref of QEMU.
 */
export class GuestAgent implements Disposable {
  readonly #socket: Socket
  readonly #endTurn: () => void
  /** Says `more` when something came, or nothing can come any more. */
  readonly #heard = new EventEmitter()
  /** What came and was not read yet, in the pieces it came in. */
  #pieces: Buffer[] = []
  #heardBytes = 0

  private constructor(socket: Socket, endTurn: () => void) {
    this.#socket = socket
    this.#endTurn = endTurn
    socket.on('error', () => socket.destroy())
    socket.on('close', () => this.#heard.emit('more'))
    socket.on('data', (data: Buffer) => {
      this.#pieces.push(data)
      this.#heardBytes += data.length
      if (this.#heardBytes > LONGEST_CONVERSATION) socket.destroy()
      this.#heard.emit('more')
    })
  }

  /**
   * An agent that answers, once it is our turn to speak with it.
   * @param timeoutMs an integer; counts from our turn.
   * @param turnMs how long the turn is waited for.
   * @throws Error when none does within `timeoutMs`.
   */
  static async connect(path: string, timeoutMs: number, turnMs = TURN_MS): Promise<GuestAgent> {
    const endTurn = await turns.take(path, AbortSignal.timeout(turnMs))
    const signal = AbortSignal.timeout(timeoutMs)
    const socket = connect({ path })
    const agent = new GuestAgent(socket, endTurn)
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
    for (let late = 0; late < LATE_ANSWERS; late++) {
      await this.#readUntil(SENTINEL, signal)
      const line = await this.#readUntil(NEWLINE, signal)
      const answer = parse(line.subarray(line.lastIndexOf(SENTINEL) + 1))
      if (answer?.return === id) return
    }
    throw new Error('the guest agent answers others all the time')
  }

  /**
   * @param timeoutMs an integer.
   * @throws AgentError when the agent refuses; Error when it does not answer in time. Its answer may still come:
   * `synchronize` is what may follow.
   */
  async execute(command: string, args: object, timeoutMs: number): Promise<unknown> {
    const signal = AbortSignal.timeout(timeoutMs)
    this.#say(command, args)
    const answer = parse(await this.#readUntil(NEWLINE, signal))
    if (!answer) throw new Error('the guest agent answers no JSON')
    if (answer.error !== undefined) throw refusalOf(answer.error)
    if (!('return' in answer)) throw new Error('the guest agent answers neither a result nor an error')
    return answer.return
  }

  /** Ends the conversation; the next may begin. */
  [Symbol.dispose](): void {
    this.#socket.destroy()
    this.#endTurn()
  }

  #say(command: string, args: object): void {
    this.#socket.write(`${JSON.stringify({ execute: command, arguments: args })}\n`)
  }

  /** What comes before the next `end`, a byte that is read over too. */
  async #readUntil(end: number, signal: AbortSignal): Promise<Buffer> {
    const before: Buffer[] = []
    for (let bytes = 0; ; ) {
      // Also between answers that are there already: a guest must not keep us reading beyond the deadline.
      signal.throwIfAborted()
      const piece = this.#pieces.shift()
      if (piece === undefined) {
        if (this.#socket.destroyed) throw new Error('the guest agent is gone, or says too much')
        await once(this.#heard, 'more', { signal })
        continue
      }
      const at = piece.indexOf(end)
      before.push(at < 0 ? piece : piece.subarray(0, at))
      if (at >= 0) {
        if (at + 1 < piece.length) this.#pieces.unshift(piece.subarray(at + 1))
        return Buffer.concat(before)
      }
      bytes += piece.length
      if (bytes > LONGEST_ANSWER) throw new Error('the guest agent says too much')
    }
  }
}

const NEWLINE = 0x0a
const QUOTE = 0x22
const BACKSLASH = 0x5c
/** How far brackets nest in an answer: those that we ask for, four deep. */
const DEEPEST_ANSWER = 32

function parse(line: Buffer): { return?: unknown; error?: unknown } | undefined {
  if (isDeep(line)) return undefined
  try {
    const value: unknown = JSON.parse(line.toString('utf8'))
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}

/**
 * Whether brackets nest deeper than in any answer there is: to parse a million of them takes most of a second, in which
 * nobody else is served.
 */
function isDeep(json: Buffer): boolean {
  let depth = 0
  let isText = false
  for (let at = 0; at < json.length; at++) {
    const byte = json[at]
    if (byte === QUOTE) isText = !isText
    else if (isText) at += byte === BACKSLASH ? 1 : 0
    // `{` and `[`, `}` and `]` are told apart by one bit.
    else if (byte !== undefined && (byte | 0x20) === 0x7b) depth++
    else if (byte !== undefined && (byte | 0x20) === 0x7d) depth--
    if (depth > DEEPEST_ANSWER) return true
  }
  return false
}

/** By its two known members alone: anything else of it may be nested without end. */
function refusalOf(error: unknown): AgentError {
  const { class: name, desc } = (error ?? {}) as { class?: unknown; desc?: unknown }
  const words = [name, desc].filter((word) => typeof word === 'string' && word !== 'GenericError')
  const text = words.join(': ')
  return new AgentError(cleanText(text, LONGEST_REFUSAL) ?? 'no reason given', text.length > LONGEST_REFUSAL)
}

/** In characters. */
const LONGEST_REFUSAL = 300

/**
 * A refusal as it may be shown where the guest was told secrets, which it may repeat: cleaned as refusals are, or only a
 * part of them where the refusal is cut. Pure.
 */
export function refusalWithout(secrets: readonly string[], { message, isCut }: AgentError): string {
  const hidden = secrets.map((secret) => cleanText(secret, secret.length)).filter((text) => text !== undefined)
  return hidden.some((text) => isCut || message.includes(text)) ? 'no reason that could be shown' : message
}

/**
 * A text of a guest's as a line to show: without control characters and cut; undefined for what is no text, or empty.
 * @param most characters.
 */
export function cleanText(value: unknown, most: number): string | undefined {
  if (typeof value !== 'string') return undefined
  const text = value
    .slice(0, 4 * most)
    .toWellFormed()
    .replace(/[\p{Cc}\p{Cf}\u2028\u2029]+/gu, ' ')
    .trim()
  return text === '' ? undefined : text.slice(0, most).toWellFormed()
}
