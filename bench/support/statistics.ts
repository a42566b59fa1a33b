import { readFileSync } from 'node:fs'

/**
 * The value that `share` of all values do not exceed.
 * @param share 0 to 1: 0.5 is the median.
 */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  const value = sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(sorted.length * share) - 1))]
  if (value === undefined) throw new Error('There is nothing to take a percentile of.')
  return value
}

export const median = (values: readonly number[]): number => percentile(values, 0.5)

/** Runnable processes of the machine, averaged over the last minute: more than it has cores, and times are not its own. */
export const readLoad = (): number => Number(readFileSync('/proc/loadavg', 'utf8').split(' ')[0])

/** Processor time a process has taken, in milliseconds. Source: proc_pid_stat(5), fields utime and stime. */
export function readCpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ')
  // The fields after the name begin with the third of the manual; a tick is 10 ms wherever Linux runs on x86 and arm.
  return (Number(fields[11]) + Number(fields[12])) * 10
}

/** Resident memory of a process, in MB of 10^6 bytes. */
export function readResidentMb(pid: number): number {
  const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return (Number(kib) * 1024) / 1e6
}

/** How long `work` takes, in milliseconds. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const since = performance.now()
  await work()
  return performance.now() - since
}
