/** From the launcher to its line `ready`, everything installed: fresh and existing data directories, both hosts. */
import { join } from 'node:path'
import { Child } from './support/child.ts'
import { DataDirectory } from './support/cloud-process.ts'
import type { Figure } from './support/figure.ts'
import { median, timed } from './support/statistics.ts'

const ROUNDS = 5
const REACH_MS = 1_500
const LAUNCHER = join(import.meta.dirname, '../novella')
const DRIVERS = ['memory', 'qemu'] as const

export async function measure(): Promise<Figure[]> {
  const times = new Map<string, number[]>()
  const note = (key: string, ms: number) => times.set(key, [...(times.get(key) ?? []), ms])
  await using warm = await DataDirectory.make()
  // The built-in image is made before anything is timed, and is then in the cache.
  await start('qemu', warm)
  for (let round = 0; round < ROUNDS; round++) {
    note('floor', await timed(() => endOf([process.execPath, '-e', '0'])))
    for (const driver of DRIVERS) {
      await using data = await DataDirectory.make()
      note(`${driver}, fresh data directory`, await start(driver, data))
      note(`${driver}, existing data directory`, await start(driver, data))
    }
  }
  const of = (key: string) => median(times.get(key) ?? [])
  return [...times.keys()]
    .filter((key) => key !== 'floor')
    .map((key) => ({
      name: `start to ready, ${key}, ms`,
      ours: of(key),
      floor: of('floor'),
      reach: `≤ ${REACH_MS} ms`,
      isReached: of(key) <= REACH_MS,
    }))
}

/** Starts Novella and stops it again; what the start took, in milliseconds. */
async function start(driver: (typeof DRIVERS)[number], data: DataDirectory): Promise<number> {
  const args = ['--driver', driver, '--data', data.path, '--listen', '127.0.0.1:0', '--no-first-server']
  const since = performance.now()
  await using child = new Child([LAUNCHER, 'up', ...args])
  await child.awaitLine(/^ready /)
  return performance.now() - since
}

/** Runs a command to its end. */
async function endOf(command: readonly string[]): Promise<void> {
  const { process: child } = new Child(command)
  await new Promise((resolve) => child.once('close', resolve))
}
