/** Resident memory of the Novella process: when nobody asks anything, and with 500 servers on the memory host. */
import { BareProcess } from './support/bare-process.ts'
import { CloudProcess, DataDirectory } from './support/cloud-process.ts'
import type { Figure } from './support/figure.ts'
import { readResidentMb } from './support/statistics.ts'

const SERVERS = 500
const IDLE_MB = 150
const FULL_MB = 180
/** Until start-up is over and what it left has been looked over once, in milliseconds. */
const REST_MS = 5_000
const PATIENCE_MS = 300_000

export async function measure(): Promise<Figure[]> {
  await using data = await DataDirectory.make()
  await using bare = await BareProcess.start()
  await using cloud = await CloudProcess.start(data)
  await rest()
  const idleMb = readResidentMb(cloud.pid)
  await cloud.createServer('many', SERVERS)
  const deadline = performance.now() + PATIENCE_MS
  while ((await cloud.countActive()) < SERVERS) {
    if (performance.now() > deadline) throw new Error('The servers do not become ACTIVE.')
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
  await rest()
  const fullMb = readResidentMb(cloud.pid)
  const floorMb = readResidentMb(bare.pid)
  const figure = (name: string, ours: number, reachMb: number): Figure => ({
    name,
    ours,
    floor: floorMb,
    reach: `≤ ${reachMb} MB`,
    isReached: ours <= reachMb,
  })
  return [
    figure('resident memory, idle, MB', idleMb, IDLE_MB),
    figure(`resident memory with ${SERVERS} servers, memory host, MB`, fullMb, FULL_MB),
  ]
}

const rest = () => new Promise((resolve) => setTimeout(resolve, REST_MS))
