import { connect, type Socket } from 'node:net'

export interface QmpEvent {
  event: string
  data: Record<string, unknown>
}

/** QEMU's own refusal of a command; `qmpClass` is what to decide by. */
export class QmpError extends Error {
  override readonly name = 'QmpError'
  readonly qmpClass: string

  constructor(qmpClass: string, message: string) {
    super(message)
    this.qmpClass = qmpClass
  }
}

interface Pending {
  resolve: (value: unknown) => void
  reject: (error: Error) => void
  timer: NodeJS.Timeout
}

/** No answer of QEMU that we ask for comes near this; a longer line is not QMP. */
const LONGEST_LINE = 1024 * 1024
const COMMAND_TIMEOUT_MS = 5_000

/**
 * One connection to a QEMU monitor: JSON, one object a line, over a unix socket. It never reconnects by itself; who
 * holds it awaits `closed` and connects anew, for what was true before has then to be asked again anyway.
 *
 *   connect → greeting → qmp_capabilities → execute…, events → closed
 *
 * A monitor serves one client at a time: a second one is accepted by the kernel, but greeted only after the first left.
 * A guest that broke out of QEMU may say anything here: what is not QMP ends the connection, and nothing else.
 * Source: docs/interop/qmp-spec.txt of QEMU.
 */
export class QmpClient {
  /** Resolves when the connection is gone, for whatever reason. */
  readonly closed: Promise<void>
  readonly #socket: Socket
  readonly #onEvent: (event: QmpEvent) => void
  readonly #pending = new Map<number, Pending>()
  #nextId = 1
  #buffered = ''
  #isClosed = false

  private constructor(socket: Socket, onEvent: (event: QmpEvent) => void) {
    this.#socket = socket
    this.#onEvent = onEvent
    socket.setEncoding('utf8')
    socket.on('data', (text: string) => this.#read(text))
    socket.on('error', () => socket.destroy())
    this.closed = new Promise((resolve) => {
      socket.on('close', () => {
        this.#isClosed = true
        for (const id of [...this.#pending.keys()]) this.#take(id)?.reject(new Error('the monitor closed'))
        resolve()
      })
    })
  }

  /**
   * A connection that has been greeted and takes commands.
   * @param signal gives up waiting.
   * @throws Error when nobody listens there, or does not greet in time.
   */
  static async connect(path: string, onEvent: (event: QmpEvent) => void, signal: AbortSignal): Promise<QmpClient> {
    const socket = connect({ path, signal })
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject))
    const client = new QmpClient(socket, onEvent)
    try {
      await client.#expect(0, COMMAND_TIMEOUT_MS)
      await client.execute('qmp_capabilities')
    } catch (error) {
      client.close()
      throw error
    }
    return client
  }

  /**
   * One command's return value.
   * @throws QmpError when QEMU refuses; Error when the monitor closes or does not answer within `timeoutMs`.
   */
  async execute(command: string, args: object = {}, timeoutMs: number = COMMAND_TIMEOUT_MS): Promise<unknown> {
    if (this.#isClosed) throw new Error('the monitor closed')
    const id = this.#nextId++
    const answer = this.#expect(id, timeoutMs)
    this.#socket.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`)
    return await answer
  }

  /** Ends the connection; the guest does not notice. */
  close(): void {
    this.#socket.destroy()
  }

  /** The greeting is awaited under the id 0, which no command has. */
  #expect(id: number, timeoutMs: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#take(id)?.reject(new Error(`the monitor did not answer within ${timeoutMs} ms`))
      }, timeoutMs)
      this.#pending.set(id, { resolve, reject, timer })
    })
  }

  #take(id: number): Pending | undefined {
    const pending = this.#pending.get(id)
    if (pending) clearTimeout(pending.timer)
    this.#pending.delete(id)
    return pending
  }

  #read(text: string): void {
    const lines = (this.#buffered + text).split('\n')
    this.#buffered = lines.pop() ?? ''
    if (this.#buffered.length > LONGEST_LINE) this.close()
    for (const line of lines) {
      if (line.trim() !== '' && !this.#isClosed) this.#dispatch(line)
    }
  }

  #dispatch(line: string): void {
    const message = readMessage(line)
    if (message === undefined) this.close()
    else if (message.kind === 'event') this.#onEvent({ event: message.event, data: message.data })
    else if (message.kind === 'refusal') this.#take(message.id)?.reject(new QmpError(message.qmpClass, message.text))
    else if (message.kind === 'answer') this.#take(message.id)?.resolve(message.value)
  }
}

type Message =
  | { kind: 'event'; event: string; data: Record<string, unknown> }
  | { kind: 'answer'; id: number; value: unknown }
  | { kind: 'refusal'; id: number; qmpClass: string; text: string }
  | { kind: 'other' }

/** What a line of the monitor says; undefined when it is not QMP. The greeting is the answer to 0. Pure. */
function readMessage(line: string): Message | undefined {
  const message = parse(line)
  if (message === undefined) return undefined
  const { QMP, event, id, error } = message
  if (QMP !== undefined) return { kind: 'answer', id: 0, value: QMP }
  if (event !== undefined) {
    const data = message.data === undefined ? {} : message.data
    return typeof event === 'string' && isObject(data) ? { kind: 'event', event, data } : undefined
  }
  // An error without id answers a line that QEMU could not read; it is ours to send none such.
  if (typeof id !== 'number') return { kind: 'other' }
  if (error === undefined) return { kind: 'answer', id, value: message.return }
  if (!isObject(error)) return undefined
  const { class: qmpClass = 'GenericError', desc = '' } = error
  return typeof qmpClass === 'string' && typeof desc === 'string'
    ? { kind: 'refusal', id, qmpClass, text: desc }
    : undefined
}

function parse(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line)
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** An answer of the monitor as a list of objects; empty when it is none: QEMU may have been taken over. */
export function readObjects(answer: unknown): Record<string, unknown>[] {
  return Array.isArray(answer) ? answer.filter((item) => typeof item === 'object' && item !== null) : []
}
