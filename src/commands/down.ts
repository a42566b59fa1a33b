import { readConfig } from '../config.ts'
import { findOwner } from '../lib/data-directory.ts'

/** How long a stop may take, in milliseconds. */
const PATIENCE_MS = 30_000

/**
 * Stops the cloud of a data directory; with `--guests` powers its servers off too.
 * @returns the exit code.
 */
export async function down(args: readonly string[]): Promise<number> {
  const { config } = readConfig(
    args.filter((arg) => arg !== '--guests'),
    process.env,
  )
  const pid = findOwner(config.data)
  if (pid !== undefined) {
    process.kill(pid, 'SIGTERM')
    const until = Date.now() + PATIENCE_MS
    while (findOwner(config.data) === pid || isAlive(pid)) {
      if (Date.now() > until) {
        console.error(`Process ${pid} did not end within ${PATIENCE_MS / 1000} s; its log is in ${config.data}.`)
        return 1
      }
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    console.log(`stopped (process ${pid})`)
  } else {
    console.log(`nothing runs on ${config.data}`)
  }
  if (!args.includes('--guests')) return 0
  const { powerOffGuests } = await import('./power-off-guests.ts')
  console.log(`servers powered off: ${await powerOffGuests(config)}`)
  return 0
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
