import { openSync, writeSync } from 'node:fs'
import { type DestinationStream, type Logger, pino } from 'pino'
import { DataDirectoryError } from './data-directory.ts'

/** Members that must never reach a log, wherever they turn up. */
const SECRETS = [
  'adminPass',
  'admin_pass',
  'password',
  'private_key',
  'token',
  'x-auth-token',
  'x-subject-token',
  'authorization',
  'cookie',
  'user_data',
]

/**
 * The log: one JSON object a line, with request ids, secrets replaced. The lines of one turn of the event loop are
 * written together at its end, or at the end of the process. What cannot be written is lost, and counted: a full disk
 * must not end the cloud.
 * @param destination a file, or `-` for standard error.
 * @throws DataDirectoryError when the file cannot be opened.
 */
export function openLog(destination: string, level: string): Logger {
  const out = new LogFile(destination === '-' ? STDERR : openForAppend(destination), destination)
  let lines: string[] = []
  const flush = (): void => {
    if (lines.length === 0) return
    const written = lines
    lines = []
    out.write(written)
  }
  process.on('exit', flush)
  const write = (line: string): void => {
    if (lines.length === 0) setImmediate(flush)
    lines.push(line)
  }
  return newLog({ write }, level)
}

function openForAppend(path: string): number {
  try {
    return openSync(path, 'a', 0o600)
  } catch (error) {
    throw new DataDirectoryError(
      `The log ${path} cannot be written: ${(error as Error).message}. ` +
        'Run as the user whose file it is, or choose another with --log.',
      { cause: error },
    )
  }
}

const STDERR = 2
/** A terminal or pipe that is not read fast enough is tried again this often, this many milliseconds apart. */
const TRIES = 20
const PAUSE_MS = 10

/** Appends to a file whatever fits, and never throws. */
class LogFile {
  readonly #fd: number
  readonly #name: string
  #lost = 0
  /** Whether half a line is there, which the next must not run into. */
  #isTorn = false
  #hasComplained = false

  constructor(fd: number, name: string) {
    this.#fd = fd
    this.#name = name
  }

  write(lines: string[]): void {
    const { length } = lines
    try {
      if (this.#lost > 0) {
        const report = { level: 50, time: Date.now(), lost: this.#lost, msg: 'the log could not be written' }
        this.#append(`${this.#isTorn ? '\n' : ''}${JSON.stringify(report)}\n`)
        this.#lost = 0
      }
      this.#append(lines.join(''))
    } catch (error) {
      this.#lost += length
      this.#complain(error as Error)
    }
  }

  #append(text: string): void {
    let rest = Buffer.from(text)
    try {
      for (let tries = 0; rest.length > 0; ) {
        try {
          rest = rest.subarray(writeSync(this.#fd, rest))
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'EAGAIN' || ++tries > TRIES) throw error
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS)
        }
      }
      this.#isTorn = false
    } catch (error) {
      if (rest.length < Buffer.byteLength(text)) this.#isTorn = true
      throw error
    }
  }

  /** Once a process: whoever reads standard error needs no line for each that is lost. */
  #complain(error: Error): void {
    if (this.#hasComplained || this.#fd === STDERR) return
    this.#hasComplained = true
    try {
      writeSync(
        STDERR,
        `novella: the log ${this.#name} cannot be written: ${error.message}. Its lines are lost until it can.\n`,
      )
    } catch {
      // Nobody is left to tell.
    }
  }
}

/** A log that writes to a stream: what tests read back. */
export function newLog(stream: DestinationStream, level = 'info'): Logger {
  const paths = SECRETS.flatMap((name) => [`["${name}"]`, `*["${name}"]`, `*.*["${name}"]`])
  return pino({ level, redact: { paths, censor: '[redacted]' } }, stream)
}

/** A child of a log for lines without any secret; looking for secrets costs twenty times what writing the line does. */
export const withoutSecrets = (log: Logger): Logger => log.child({}, { redact: [] })
