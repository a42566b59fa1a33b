import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'

/**
 * Starts a program in a session and process group of its own: a Ctrl-C at the terminal reaches us alone, who then
 * decide, and what the program starts can be ended together with it.
 */
export const spawnGroup = (program: string, args: readonly string[], options: SpawnOptions): ChildProcess =>
  spawn(program, args, { ...options, detached: true })

/** Signals a whole group, also when its first process has ended; nothing happens when none of it is left. */
export function signalGroup({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
