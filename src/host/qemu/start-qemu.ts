import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, constants, openSync } from 'node:fs'
import { COMMAND_ENV } from '../run-program.ts'
import type { Limits } from './cgroup.ts'
import { readTail } from './console-log.ts'
import { startConsoleWriter } from './console-writer.ts'
import { CONSOLE_FD } from './launch-command.ts'
import { type RunRecord, readBootId, readStartTicks, removeRecord, writeRecord } from './run-record.ts'
import type { ServerFiles } from './server-files.ts'
import { openSockets } from './sockets-directory.ts'

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
  /** Epoch milliseconds. */
  startedAt: number
  limits: Limits
  /** Called with the id of each process at once after its start, for instance to put it under limits. */
  onPid: (pid: number) => void
}

/**
 * Starts QEMU and the writer of its console so that they outlive this process, and writes down that it did. Synchronous, so that nobody can see a
 * record without its process. Undefined when it could not even be started.
 * @throws Error of the system call that failed; QEMU then does not run, and there is no record.
 */
export function startQemu(input: StartInput): RunRecord | undefined {
  const { files } = input
  const [program = '', ...args] = input.command
  openSockets(files, input.user)
  const opened: number[] = []
  const open = (path: string, flags: number | string): number => {
    const fd = openSync(path, flags, 0o600)
    opened.push(fd)
    return fd
  }
  try {
    const stdio: (number | 'ignore')[] = [
      open(input.greeting, 'r'),
      open(files.eventLog, APPEND | O_TRUNC),
      open(files.qemuLog, APPEND | O_TRUNC),
    ]
    const writer = startConsoleWriter(files)
    opened.push(writer.writeEnd)
    if (writer.pid !== undefined) input.onPid(writer.pid)
    // What is ignored beyond stdio stays closed: the taps go there.
    stdio.push(...Array<'ignore'>(CONSOLE_FD - stdio.length).fill('ignore'), writer.writeEnd)
    const record: RunRecord = {
      pid: null,
      startTicks: null,
      bootId: readBootId(),
      startedAt: input.startedAt,
      limits: input.limits,
    }
    writeRecord(files, record)
    const child = spawn(program, args, { cwd: '/', env: { ...COMMAND_ENV }, detached: true, stdio })
    forget(child)
    if (child.pid === undefined) {
      removeRecord(files)
      return undefined
    }
    try {
      input.onPid(child.pid)
      record.pid = child.pid
      record.startTicks = readStartTicks(child.pid) ?? null
      writeRecord(files, record)
    } catch (error) {
      // Nobody else can know of it; and it has not run an instruction of the guest yet.
      child.kill('SIGKILL')
      removeRecord(files)
      throw error
    }
    return record
  } finally {
    for (const fd of opened) closeSync(fd)
  }
}

/** Its end is seen by its monitor and its process id, ours or not; Node has only to reap it. */
function forget(child: ChildProcess): void {
  child.on('error', () => {})
  child.unref()
}

/** The end of what QEMU wrote to stderr, for the log. */
export const readQemuLog = (files: ServerFiles): string => readTail(files.qemuLog, 2_000).toString('utf8').trim()
