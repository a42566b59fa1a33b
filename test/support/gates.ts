import { afterEach } from 'node:test'

/**
 * Makes gates: what a host call can be made to wait for. They open by themselves after each test of the file or suite that
 * calls this, also after one that failed: nothing may wait for them for ever.
 */
export function gates(): () => PromiseWithResolvers<void> {
  const made: PromiseWithResolvers<void>[] = []
  afterEach(() => {
    for (const gate of made.splice(0)) gate.resolve()
  })
  return () => {
    const gate = Promise.withResolvers<void>()
    made.push(gate)
    return gate
  }
}
