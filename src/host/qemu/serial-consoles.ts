/**
 * Serial consoles of guests that run, for people to look at and type into.
 *
 *   guest ──► console.log ──► every viewer, each at its own pace        (console-tail.ts)
 *   guest ◄── QEMU's socket ◄── what any of them types                  (serial-input.ts)
 *
 * All viewers of a server share its input, and see what the others type by its echo. What comes out of the guest is
 * read from the log: so a viewer begins with what was said before, misses nothing in between, and one that reads
 * slowly holds up neither the guest nor anybody else, nor fills memory.
 */
import { existsSync } from 'node:fs'
import { Duplex } from 'node:stream'
import { HostError } from '../host-driver.ts'
import { ConsoleTail } from './console-tail.ts'
import { hasConsoleWriter } from './console-writer.ts'
import { SerialInput } from './serial-input.ts'
import type { ServerFiles } from './server-files.ts'
import { asBacklog, isTerminalAnswer } from './terminal-text.ts'

/** How much of what was said before a viewer is shown, in bytes. */
export const BACKLOG_BYTES = 64 * 1024
/** How many may look at one guest: as many as at its screen, by QEMU's default. Each costs a look at the log's end. */
export const MOST_VIEWERS = 32
const CHUNK_BYTES = 64 * 1024
/** How often the log is looked at while somebody watches, in milliseconds: below what a person notices. */
const LOOK_EVERY_MS = 20
/** How long the last words of a guest that has ended may take to be written down, in milliseconds. */
const LAST_WORDS_MS = 1_000
const CUT = Buffer.from('\r\n\x1b[0m[… the console was faster than this connection; some of it is left out …]\r\n')

/** The serial consoles of one host that somebody looks at. */
export class SerialConsoles {
  readonly #open = new Map<string, SharedConsole>()

  /**
   * One more viewer of a guest that runs; it ends when the guest does.
   * @param runs whether the guest still does.
   * @throws HostError `notPlugged` for a guest that has no such console, or no place for another viewer.
   */
  open(serverId: string, files: ServerFiles, runs: () => boolean): Duplex {
    if (!existsSync(files.serial)) {
      throw new HostError('notPlugged', 'This server has no serial console yet. A hard reboot gives it one.')
    }
    const known = this.#open.get(serverId)
    if (known && !known.hasEnded) {
      if (!known.isFull) return known.addViewer()
      const message = `The serial console of this server is open ${MOST_VIEWERS} times, the most there may be. Close one.`
      throw new HostError('notPlugged', message)
    }
    const shared: SharedConsole = new SharedConsole(files, runs, () => {
      if (this.#open.get(serverId) === shared) this.#open.delete(serverId)
    })
    this.#open.set(serverId, shared)
    return shared.addViewer()
  }

  /** Ends all of them; the guests go on. */
  close(): void {
    for (const shared of [...this.#open.values()]) shared.end()
  }
}

class SharedConsole {
  hasEnded = false
  readonly #files: ServerFiles
  readonly #runs: () => boolean
  readonly #forget: () => void
  readonly #input: SerialInput
  readonly #viewers = new Set<SerialViewer>()
  /** Whose terminal answers the guest's questions: whoever typed last. */
  #typist: SerialViewer | undefined
  readonly #looking: NodeJS.Timeout
  #endedAt: number | undefined

  constructor(files: ServerFiles, runs: () => boolean, forget: () => void) {
    this.#files = files
    this.#runs = runs
    this.#forget = forget
    this.#input = new SerialInput(files.serial)
    this.#looking = setInterval(() => this.#look(), LOOK_EVERY_MS)
  }

  get isFull(): boolean {
    return this.#viewers.size >= MOST_VIEWERS
  }

  addViewer(): Duplex {
    const viewer: SerialViewer = new SerialViewer(new ConsoleTail(this.#files, BACKLOG_BYTES), {
      type: (bytes, done) => this.#type(viewer, bytes, done),
      leave: () => this.#remove(viewer),
    })
    this.#viewers.add(viewer)
    return viewer
  }

  /** Shows what is written down, and no more. */
  end(): void {
    if (this.hasEnded) return
    this.hasEnded = true
    this.#forget()
    clearInterval(this.#looking)
    this.#input.close()
    for (const viewer of this.#viewers) viewer.finish()
  }

  #look(): void {
    for (const viewer of this.#viewers) viewer.look()
    if (this.#guestRuns()) return
    this.#endedAt ??= performance.now()
    const isOver = hasConsoleWriter(this.#files) !== true || performance.now() - this.#endedAt > LAST_WORDS_MS
    if (isOver) this.end()
  }

  /** As far as can be told: a process short of descriptors cannot tell. */
  #guestRuns(): boolean {
    try {
      return this.#runs()
    } catch {
      return true
    }
  }

  #type(viewer: SerialViewer, bytes: Buffer, done: () => void): void {
    const isAnswer = isTerminalAnswer(bytes)
    if (!isAnswer) this.#typist = viewer
    // The guest asked once, and every viewer's terminal answers.
    const isSecond = isAnswer && viewer !== (this.#typist ?? this.#viewers.values().next().value)
    if (isSecond) done()
    else this.#input.write(bytes, done)
  }

  #remove(viewer: SerialViewer): void {
    this.#viewers.delete(viewer)
    if (this.#typist === viewer) this.#typist = undefined
    if (this.#viewers.size === 0) this.end()
  }
}

interface ViewerEnds {
  type(bytes: Buffer, done: () => void): void
  leave(): void
}

class SerialViewer extends Duplex {
  readonly #tail: ConsoleTail
  readonly #ends: ViewerEnds
  #wantsMore = false
  #hasBegun = false
  #isFinished = false

  constructor(tail: ConsoleTail, ends: ViewerEnds) {
    super({ allowHalfOpen: false })
    this.#tail = tail
    this.#ends = ends
  }

  /** Passes on what is new, if somebody waits for it. */
  look(): void {
    if (!this.#wantsMore || this.destroyed) return
    try {
      const { bytes, isCut } = this.#hasBegun ? this.#tail.read(CHUNK_BYTES) : this.#begin()
      if (bytes.length > 0) {
        this.#wantsMore = false
        this.push(isCut ? Buffer.concat([CUT, bytes]) : bytes)
      } else if (this.#isFinished) {
        this.#wantsMore = false
        this.push(null)
      }
    } catch (error) {
      this.destroy(error as Error)
    }
  }

  /** The guest has ended: what is left is passed on, and that is all. */
  finish(): void {
    this.#isFinished = true
    this.look()
  }

  /** All that is there already, as one piece. */
  #begin(): { bytes: Buffer; isCut: boolean } {
    this.#hasBegun = true
    const chunks: Buffer[] = []
    let length = 0
    while (length < 2 * BACKLOG_BYTES) {
      const { bytes } = this.#tail.read(CHUNK_BYTES)
      if (bytes.length === 0) break
      chunks.push(bytes)
      length += bytes.length
    }
    return { bytes: asBacklog(Buffer.concat(chunks), length < BACKLOG_BYTES), isCut: false }
  }

  override _read(): void {
    this.#wantsMore = true
    // Not from within a read: what is pushed then asks again at once, and a flood would keep everybody else waiting.
    setImmediate(() => this.look())
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#ends.type(chunk, done)
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#tail.close()
    this.#ends.leave()
    done(error)
  }
}
