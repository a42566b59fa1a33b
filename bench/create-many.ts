/** A hundred servers created by ten clients, until the last is ACTIVE. */
import { BareProcess } from './support/bare-process.ts'
import { CloudProcess, DataDirectory } from './support/cloud-process.ts'
import type { Figure } from './support/figure.ts'
import { median, timed } from './support/statistics.ts'

const ROUNDS = 5
const SERVERS = 100
const CLIENTS = 10
const REACH_MS = 1_500
/** How long all may take before the bench gives up. */
const PATIENCE_MS = 120_000

export async function measure(): Promise<Figure[]> {
  await using data = await DataDirectory.make()
  await using cloud = await CloudProcess.start(data)
  await using bare = await BareProcess.start()
  const ours: number[] = []
  const floor: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    ours.push(await timed(() => createAll(cloud, `round-${round}`, round * SERVERS)))
    floor.push(await timed(() => byClients((index) => bare.post({ server: { name: `bare-${index}` } }))))
  }
  return [
    {
      name: '100 creates by 10 clients, all ACTIVE, memory host, ms',
      ours: median(ours),
      floor: median(floor),
      reach: `≤ ${REACH_MS} ms`,
      isReached: median(ours) <= REACH_MS,
    },
  ]
}

async function createAll(cloud: CloudProcess, name: string, before: number): Promise<void> {
  await byClients((index) => cloud.createServer(`${name}-${index}`))
  const deadline = performance.now() + PATIENCE_MS
  for (;;) {
    const active = await cloud.countActive()
    if (active === before + SERVERS) return
    if (performance.now() > deadline) throw new Error(`Only ${active - before} of ${SERVERS} servers are ACTIVE.`)
    // Asking without a pause would take from the server what it builds with.
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** All clients at once, each one request after the other. */
async function byClients(request: (index: number) => Promise<unknown>): Promise<void> {
  await Promise.all(
    Array.from({ length: CLIENTS }, async (_, client) => {
      for (let index = client; index < SERVERS; index += CLIENTS) await request(index)
    }),
  )
}
