import { execFile } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { basename, join } from 'node:path'

/** Where programs of the host are looked for; never the caller's own PATH. */
export const SYSTEM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** The whole environment a host command gets: messages in English, nothing of ours. */
export const COMMAND_ENV: Readonly<Record<string, string>> = { PATH: SYSTEM_PATH, LANG: 'C.UTF-8', LC_ALL: 'C.UTF-8' }

/** How much of what a command said is kept for the log, in characters. */
const STDERR_TAIL = 2_000
const STDOUT_LIMIT_BYTES = 4 * 1024 * 1024

/** A host command that did not end well. Its message names the program only; what it said is in `stderr`, for the log. */
export class CommandError extends Error {
  override readonly name = 'CommandError'
  readonly argv: readonly string[]
  /** The end of what it wrote to stderr. */
  readonly stderr: string

  constructor(message: string, argv: readonly string[], stderr: string, options?: ErrorOptions) {
    super(message, options)
    this.argv = argv
    this.stderr = stderr
  }
}

/** The absolute path of a program, or undefined when no directory of `searchPath` (colon-separated) has it. */
export function findProgram(name: string, searchPath: string = SYSTEM_PATH): string | undefined {
  for (const directory of searchPath.split(':')) {
    const path = join(directory, name)
    try {
      accessSync(path, constants.X_OK)
      return path
    } catch {}
  }
  return undefined
}

export interface RunOptions {
  /** The command is killed when it takes longer. */
  timeoutMs: number
  /** Given on its standard input. */
  input?: string
  /** The command is killed when it writes more; 4 MiB when left out. */
  stdoutLimitBytes?: number
}

/**
 * Runs one host command to its end, without a shell, and answers what it wrote to stdout.
 * @param argv the program, then each argument as it shall arrive.
 * @throws CommandError when it cannot start, exits other than 0, or takes longer than `timeoutMs` (it is then killed).
 */
export function run(
  argv: readonly string[],
  { timeoutMs, input = '', stdoutLimitBytes = STDOUT_LIMIT_BYTES }: RunOptions,
): Promise<string> {
  const [program = '', ...args] = argv
  return new Promise((resolve, reject) => {
    const child = execFile(
      program,
      args,
      { env: { ...COMMAND_ENV }, timeout: timeoutMs, killSignal: 'SIGKILL', maxBuffer: stdoutLimitBytes },
      (error, stdout, stderr) => {
        if (!error) return resolve(stdout)
        const how = error.killed ? `took longer than ${timeoutMs} ms` : `ended with ${error.code ?? error.signal}`
        const cause = { cause: error }
        reject(new CommandError(`${basename(program)} ${how}`, argv, stderr.slice(-STDERR_TAIL), cause))
      },
    )
    // It may exit without reading; its exit code tells.
    child.stdin?.on('error', () => {})
    child.stdin?.end(input)
  })
}
