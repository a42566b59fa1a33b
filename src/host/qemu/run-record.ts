import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import type { Limits } from './cgroup.ts'
import { readTail } from './console-log.ts'
import type { ServerFiles } from './server-files.ts'

/**
 * What is written down of a QEMU that was started. It stands in the server's directory from just before the start until
 * we stopped QEMU ourselves; so a guest that ended by itself leaves it, and `howItEnded` tells the rest.
 *
 *   (no record)            off
 *   record, process runs   on or paused
 *   record, no process     off when QEMU's event log ends in a shutdown by the guest, else crashed
 */
export interface RunRecord {
  /** Null from just before the start until the process id is known. */
  pid: number | null
  /** When the process started, in clock ticks since boot: a process id is used again, this pair is not. */
  startTicks: number | null
  /** The machine's boot, for ticks count anew with each. */
  bootId: string
  /** Epoch milliseconds. */
  startedAt: number
  /** What the guest may use at most. */
  limits?: Limits
}

/** The record, or undefined when there is none. One that cannot be read stands for a start that was cut short. */
export function readRecord(files: ServerFiles): RunRecord | undefined {
  try {
    return JSON.parse(readFileSync(files.record, 'utf8')) as RunRecord
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    if (!(error instanceof SyntaxError)) throw error
    return { pid: null, startTicks: null, bootId: '', startedAt: 0 }
  }
}

/**
 * Puts the record in the place of the one before. Not made to survive a power cut, which takes the guest with it: what
 * is left then, nothing or a record that cannot be read, says off or crashed, and both are true.
 */
export function writeRecord(files: ServerFiles, record: RunRecord): void {
  writeFileSync(`${files.record}.unfinished`, JSON.stringify(record), { mode: 0o600 })
  renameSync(`${files.record}.unfinished`, files.record)
}

export const removeRecord = (files: ServerFiles): void => rmSync(files.record, { force: true })

/** Changes with every boot of the machine. */
export const readBootId = (): string => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()

/**
 * When a process started, in clock ticks since boot; undefined when it is gone or only waits to be reaped.
 * @throws Error when that cannot be told, for want of descriptors for instance.
 */
export function readStartTicks(pid: number): number | undefined {
  let stat: string
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch (error) {
    if (!['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
    return undefined
  }
  // The name in parentheses may hold anything; the fields after it are the 3rd and on. Source: proc(5).
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : Number(fields[19])
}

/**
 * The process id of the server's QEMU, or undefined when it does not run. Boot, id and start tell a process from all
 * others; its command line would not, for it can write that over. A start that was cut short before the id was written
 * down is found by it all the same: such a guest has not run yet.
 */
export function findPid(files: ServerFiles, record: RunRecord): number | undefined {
  if (record.pid === null) return findByCommandLine(files)
  if (record.bootId !== readBootId()) return undefined
  return record.startTicks !== null && readStartTicks(record.pid) === record.startTicks ? record.pid : undefined
}

function findByCommandLine(files: ServerFiles): number | undefined {
  for (const name of readdirSync('/proc')) {
    const pid = Number(name)
    if (!Number.isInteger(pid) || !namesMonitorOf(files, readCommandLine(pid))) continue
    if (readStartTicks(pid) !== undefined) return pid
  }
  return undefined
}

function readCommandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
  } catch {
    return ''
  }
}

/** The monitor's path is in the command line of QEMU, and of what becomes QEMU, and of no other server's. */
const namesMonitorOf = (files: ServerFiles, commandLine: string): boolean =>
  commandLine.includes(`path=${files.qmp.replaceAll(',', ',,')},`)

/** Ends that somebody wanted; all others (a signal, an error, a panic) count as a crash. Source: QAPI ShutdownCause. */
const WANTED_ENDS = ['guest-shutdown', 'host-qmp-quit']

/** How a QEMU that is gone has ended, by the events it wrote down itself. */
export function howItEnded(files: ServerFiles): 'off' | 'crashed' {
  const lines = readTail(files.eventLog, 64 * 1024)
    .toString('utf8')
    .split('\n')
  // The first one counts: a signal may reach a QEMU that is ending already.
  const shutdown = lines.map(readShutdown).find((reason) => reason !== undefined)
  return shutdown !== undefined && WANTED_ENDS.includes(shutdown) ? 'off' : 'crashed'
}

/** The reason in a line of the event log that reports a shutdown. */
function readShutdown(line: string): string | undefined {
  if (!line.includes('SHUTDOWN')) return undefined
  try {
    const { event, data } = JSON.parse(line) as { event?: string; data?: { reason?: string } }
    return event === 'SHUTDOWN' ? (data?.reason ?? '') : undefined
  } catch {
    return undefined
  }
}
