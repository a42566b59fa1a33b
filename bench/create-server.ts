/** One client that creates servers one after the other: how long until 202, and until ACTIVE. */
import { BareProcess } from './support/bare-process.ts'
import { CloudProcess, DataDirectory } from './support/cloud-process.ts'
import type { Figure } from './support/figure.ts'
import { median, timed } from './support/statistics.ts'

const WARM_UP = 30
const SERVERS = 200
const ACCEPTED_MS = 5
const ACTIVE_MS = 25

export async function measure(): Promise<Figure[]> {
  await using data = await DataDirectory.make()
  await using cloud = await CloudProcess.start(data)
  await using bare = await BareProcess.start()
  const accepted: number[] = []
  const active: number[] = []
  const floor: number[] = []
  for (let index = -WARM_UP; index < SERVERS; index++) {
    const since = performance.now()
    const id = await cloud.createServer(`web-${index}`)
    const acceptedMs = performance.now() - since
    await cloud.untilActive(id)
    const activeMs = performance.now() - since
    const floorMs = await timed(() => bare.post({ server: { name: `web-${index}` } }))
    if (index < 0) continue
    accepted.push(acceptedMs)
    active.push(activeMs)
    floor.push(floorMs)
  }
  const figure = (name: string, values: number[], reachMs: number): Figure => ({
    name,
    ours: median(values),
    floor: median(floor),
    reach: `≤ ${reachMs} ms`,
    isReached: median(values) <= reachMs,
  })
  return [
    figure('POST /servers → 202, one client, p50, ms', accepted, ACCEPTED_MS),
    figure('POST → ACTIVE, memory host, p50, ms', active, ACTIVE_MS),
  ]
}
