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
    const message = parse(line)
    if (!message) this.close()
    else if ('QMP' in message) this.#take(0)?.resolve(message.QMP)
    else if (typeof message.event === 'string') {
      this.#onEvent({ event: message.event, data: (message.data ?? {}) as Record<string, unknown> })
    } else if (typeof message.id === 'number') {
      const pending = this.#take(message.id)
      if ('error' in message) {
        const { class: qmpClass = 'GenericError', desc = '' } = message.error as { class?: string; desc?: string }
        pending?.reject(new QmpError(qmpClass, desc))
      } else pending?.resolve(message.return)
    }
  }
}

function parse(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}
