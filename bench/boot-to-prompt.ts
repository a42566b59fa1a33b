/**
 * From POST to the guest's login prompt, against QEMU started by hand: the same arguments, user and namespaces, a fresh
 * overlay of the same image, and the same card in the same network, with its DHCP and metadata. In turns.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { serverFiles } from '../src/host/qemu/server-files.ts'
import { BareGuest } from './support/bare-guest.ts'
import { CloudProcess, DataDirectory } from './support/cloud-process.ts'
import type { Figure } from './support/figure.ts'
import { median } from './support/statistics.ts'

const ROUNDS = 5
const REACH = 1.1
const PROMPT = /login: *$/
const PATIENCE_MS = 120_000

export async function measure(): Promise<Figure[]> {
  await using data = await DataDirectory.make()
  await using cloud = await CloudProcess.start(data, ['--driver', 'qemu'])
  const rounds: { ours: number; floor: number }[] = []
  // The first one reads the image from the disk and makes the network. Stopped, it keeps the network there, as the bare
  // guest finds it too.
  const first = await cloud.createServer('first')
  await cloud.stopServer(first)
  for (let round = 0; round < ROUNDS; round++) rounds.push(await bootBoth(cloud, data.path))
  await cloud.deleteServer(first)
  const ratio = median(rounds.map(({ ours, floor }) => ours / floor))
  return [
    {
      name: 'POST → login prompt on QEMU, s',
      ours: median(rounds.map(({ ours }) => ours)) / 1000,
      floor: median(rounds.map(({ floor }) => floor)) / 1000,
      ratio,
      reach: `≤ ${REACH}`,
      isReached: ratio <= REACH,
    },
  ]
}

/** One server of ours, and then the same guest by hand; in milliseconds. */
async function bootBoth(cloud: CloudProcess, dataDir: string): Promise<{ ours: number; floor: number }> {
  const since = performance.now()
  const id = await cloud.createServer('web')
  try {
    const files = serverFiles(join(dataDir, 'servers'), id)
    const ours = (await untilPrompt(files.consoleLog)) - since
    const bare = await BareGuest.of(cloud, dataDir, id)
    await cloud.stopServer(id)
    await using guest = await bare.prepare()
    const startedAt = performance.now()
    guest.start()
    const floor = (await untilPrompt(files.consoleLog)) - startedAt
    return { ours, floor }
  } finally {
    await cloud.deleteServer(id)
  }
}

/** When the prompt was there. */
async function untilPrompt(consoleLog: string): Promise<number> {
  const deadline = performance.now() + PATIENCE_MS
  for (;;) {
    if (PROMPT.test(readOrNothing(consoleLog))) return performance.now()
    if (performance.now() > deadline) throw new Error(`No login prompt came; ${consoleLog} says how far it got.`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

function readOrNothing(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
