/**
 * How long a guest stands still while an image of it is made. The guest itself watches: a loop in it writes a file on its
 * root disk and looks at its clock, over and over, and tells of each gap. Beside it the longest gaps while nothing was
 * made, and while QEMU, told by hand, copied the disk; with its agent, which freezes file systems, and without.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { GuestAgent } from '../src/host/qemu/guest-agent.ts'
import { type ServerFiles, serverFiles } from '../src/host/qemu/server-files.ts'
import { CloudProcess, DataDirectory } from './support/cloud-process.ts'
import { copyByHand } from './support/copy-by-hand.ts'
import type { Figure } from './support/figure.ts'
import { median } from './support/statistics.ts'
import { untilHolds } from './support/until-holds.ts'

const ROUNDS = 9
const REACH_MS = 200
/** How long it is looked on before and after what is measured. */
const MARGIN_MS = 500
const QUIET_MS = 1_000
const AGENT_MS = 30_000
/** The clock that a shell can read without starting a program has hundredths of a second. */
const TICK_MS = 10
/** Gaps of three ticks and more are told. */
const WATCH = `#!/bin/sh
(read -r up rest </proc/uptime; last=\${up%.*}\${up#*.}
while read -r up rest </proc/uptime; do
  now=\${up%.*}\${up#*.}
  echo $now >/tick
  [ $((now - last)) -ge 3 ] && echo "gap $last $((now - last))" >/dev/ttyS0
  last=$now
done) >/dev/null 2>&1 &
echo "gap 0 0" >/dev/ttyS0
`

interface Gaps {
  quiet: number[]
  ours: number[]
  byHand: number[]
}

export async function measure(): Promise<Figure[]> {
  await using data = await DataDirectory.make()
  await using cloud = await CloudProcess.start(data, ['--driver', 'qemu'])
  const serverId = await cloud.createServer('watch', 1, { user_data: Buffer.from(WATCH).toString('base64') })
  const files = serverFiles(join(data.path, 'servers'), serverId)
  await untilHolds('the guest watches', async () => (await readGaps(files)).length > 0)
  await untilHolds('it is up', async () => /login: *$/m.test(await readFile(files.consoleLog, 'utf8')))
  await inside(files, 'true')
  const withAgent = await measureGaps(cloud, serverId, files)
  await inside(files, '(sleep 1; kill $(pidof qemu-ga)) >/dev/null 2>&1 &')
  await untilHolds('the agent is gone', () =>
    GuestAgent.connect(files.guestAgent, 2_000)
      .then(
        (agent) => agent[Symbol.dispose](),
        () => true,
      )
      .then((isGone) => isGone === true),
  )
  const withoutAgent = await measureGaps(cloud, serverId, files)
  await cloud.deleteServer(serverId)
  return [...figures('frozen by its agent', withAgent), ...figures('without an agent', withoutAgent)]
}

const figures = (how: string, { quiet, ours, byHand }: Gaps): Figure[] => {
  const [longest, longestQuiet] = [Math.max(...ours), Math.max(...quiet)]
  return [
    {
      name: `longest standstill of a guest while an image is made, ${how}, ms (floor: while none is made)`,
      ours: longest,
      floor: longestQuiet,
      reach: `≤ ${REACH_MS} ms more`,
      isReached: longest - longestQuiet <= REACH_MS,
    },
    {
      name: `the same, median of ${ROUNDS}, ms (floor: blockdev-backup by hand)`,
      ours: median(ours),
      floor: median(byHand),
    },
  ]
}

async function measureGaps(cloud: CloudProcess, serverId: string, files: ServerFiles): Promise<Gaps> {
  const gaps: Gaps = { quiet: [], ours: [], byHand: [] }
  for (let round = 0; round < ROUNDS; round++) {
    gaps.quiet.push(await longestGap(files, () => pause(QUIET_MS)))
    gaps.byHand.push(await longestGap(files, () => copyByHand(files)))
    gaps.ours.push(await longestGap(files, () => makeImage(cloud, serverId)))
  }
  return gaps
}

async function makeImage(cloud: CloudProcess, serverId: string): Promise<void> {
  const answer = await cloud.ask('POST', `/servers/${serverId}/action`, { createImage: { name: 'image' } })
  const id = (answer.headers.get('location') ?? '').split('/').at(-1) ?? ''
  await untilHolds('the image is active', async () => (await cloud.readImage(id)).status === 'active')
  await untilHolds('the server is at rest', async () => (await cloud.readServer(serverId)).status === 'ACTIVE')
  await cloud.deleteImage(id)
}

/** In milliseconds; a tick when none was so long that it was told. */
async function longestGap(files: ServerFiles, work: () => Promise<unknown>): Promise<number> {
  const before = (await readGaps(files)).at(-1)?.since ?? 0
  await work()
  await pause(MARGIN_MS)
  const during = (await readGaps(files)).filter(({ since }) => since > before)
  return Math.max(TICK_MS, ...during.map(({ ms }) => ms))
}

/** All that the guest told of, oldest first; `since` is its clock. */
async function readGaps(files: ServerFiles): Promise<{ since: number; ms: number }[]> {
  const text = await readFile(files.consoleLog, 'utf8').catch(() => '')
  return [...text.matchAll(/gap (\d+) (\d+)\r?\n/g)].map(([, since, ticks]) => ({
    since: Number(since),
    ms: Number(ticks) * TICK_MS,
  }))
}

/** Has a command begun in the guest; waits for the agent, not for the command. */
async function inside(files: ServerFiles, command: string): Promise<void> {
  using agent = await GuestAgent.connect(files.guestAgent, AGENT_MS)
  await agent.execute('guest-exec', { path: '/bin/sh', arg: ['-c', command] }, AGENT_MS)
}
