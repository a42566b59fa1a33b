import { setTimeout as pause } from 'node:timers/promises'

/** Long enough for a busy machine where eight guests boot at once; only a failing test ever waits for it. */
const PATIENCE_MS = 150_000

/**
 * Waits until `holds` answers something true, and answers that.
 * @throws Error saying `what` did not come, after two and a half minutes.
 */
export async function until<T>(what: string, holds: () => T | Promise<T>, patienceMs = PATIENCE_MS): Promise<T> {
  const deadline = performance.now() + patienceMs
  for (;;) {
    const held = await holds()
    if (held) return held
    if (performance.now() > deadline) throw new Error(`waited in vain until ${what}`)
    await pause(20)
  }
}
