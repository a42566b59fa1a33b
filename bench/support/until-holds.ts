/** How long anything may take, in milliseconds. */
const PATIENCE_MS = 120_000
const LOOK_EVERY_MS = 5

/** Looks every few milliseconds. @throws Error saying what did not come. */
export async function untilHolds(what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`waited in vain until ${what}`)
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS))
  }
}
