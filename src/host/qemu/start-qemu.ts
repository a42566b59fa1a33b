import { type ChildProcess, spawn } from 'node:child_process'
import { chownSync, closeSync, constants, mkdirSync, openSync } from 'node:fs'
import { COMMAND_ENV } from '../run-program.ts'
import { readTail } from './console-log.ts'
import { type RunRecord, readBootId, readStartTicks, removeRecord, writeRecord } from './run-record.ts'
import type { ServerFiles } from './server-files.ts'

/** What QEMU reads on its event monitor, once: from then on it reports events there. */
export const EVENT_MONITOR_GREETING = '{"execute":"qmp_capabilities"}\n'

const { O_APPEND, O_CREAT, O_TRUNC, O_WRONLY } = constants
const APPEND = O_WRONLY | O_CREAT | O_APPEND

export interface StartInput {
  /** What becomes QEMU: see launch-command.ts. */
  command: readonly string[]
  files: ServerFiles
  user: { uid: number; gid: number }
  /** A file that holds EVENT_MONITOR_GREETING. */
  greeting: string
  /** Called with the process id at once after the start, for instance to put it under limits. */
  onPid: (pid: number) => void
}

/**
 * Starts QEMU so that it outlives this process, and writes down that it did. Synchronous, so that nobody can see a
 * record without its process. Undefined when it could not even be started.
 */
export function startQemu(input: StartInput): RunRecord | undefined {
  const { files, user } = input
  const [program = '', ...args] = input.command
  mkdirSync(files.sockets, { recursive: true, mode: 0o700 })
  chownSync(files.sockets, user.uid, user.gid)
  const consoleLog = openSync(files.consoleLog, APPEND, 0o600)
  chownSync(files.consoleLog, user.uid, user.gid)
  const record: RunRecord = { pid: null, startTicks: null, bootId: readBootId(), startedAt: Date.now() }
  const stdio = [
    openSync(input.greeting, 'r'),
    openSync(files.eventLog, APPEND | O_TRUNC, 0o600),
    openSync(files.qemuLog, APPEND | O_TRUNC, 0o600),
  ]
  try {
    writeRecord(files, record)
    const child = spawn(program, args, { cwd: '/', env: { ...COMMAND_ENV }, detached: true, stdio })
    forget(child)
    if (child.pid === undefined) {
      removeRecord(files)
      return undefined
    }
    input.onPid(child.pid)
    record.pid = child.pid
    record.startTicks = readStartTicks(child.pid) ?? null
    writeRecord(files, record)
    return record
  } finally {
    for (const fd of [consoleLog, ...stdio]) closeSync(fd)
  }
}

/** Its end is seen by its monitor and its process id, ours or not; Node has only to reap it. */
function forget(child: ChildProcess): void {
  child.on('error', () => {})
  child.unref()
}

/** The end of what QEMU wrote to stderr, for the log. */
export const readQemuLog = (files: ServerFiles): string => readTail(files.qemuLog, 2_000).toString('utf8').trim()
