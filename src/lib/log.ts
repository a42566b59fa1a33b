import { closeSync, openSync } from 'node:fs'
import { type DestinationStream, type Logger, pino } from 'pino'

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
 * written together at its end, or at the end of the process.
 * @param destination a file, or `-` for standard error.
 */
export function openLog(destination: string, level: string): Logger {
  if (destination !== '-') closeSync(openSync(destination, 'a', 0o600))
  const out = pino.destination({ dest: destination === '-' ? 2 : destination, sync: true })
  let lines = ''
  const flush = (): void => {
    if (lines === '') return
    out.write(lines)
    lines = ''
  }
  process.on('exit', flush)
  const write = (line: string): void => {
    if (lines === '') setImmediate(flush)
    lines += line
  }
  return newLog({ write }, level)
}

/** A log that writes to a stream: what tests read back. */
export function newLog(stream: DestinationStream, level = 'info'): Logger {
  const paths = SECRETS.flatMap((name) => [`["${name}"]`, `*["${name}"]`, `*.*["${name}"]`])
  return pino({ level, redact: { paths, censor: '[redacted]' } }, stream)
}

/** A child of a log for lines without any secret; looking for secrets costs twenty times what writing the line does. */
export const withoutSecrets = (log: Logger): Logger => log.child({}, { redact: [] })
