/** A page of a hundred servers with a hundred stored, and with ten thousand: two clouds asked in turns. */
import { CloudProcess, DataDirectory } from './support/cloud-process.ts'
import type { Figure } from './support/figure.ts'
import { type LoadResult, load } from './support/load.ts'
import { median } from './support/statistics.ts'
import { storeServers } from './support/store-servers.ts'

const ROUNDS = 5
const LOAD = { connections: 1, seconds: 3 }
const PAGE = 100
const MANY = 10_000
const REACH = 1.2

export async function measure(): Promise<Figure[]> {
  await using fewData = await DataDirectory.make()
  await using manyData = await DataDirectory.make()
  await fill(fewData, PAGE)
  await fill(manyData, MANY)
  await using few = await CloudProcess.start(fewData)
  await using many = await CloudProcess.start(manyData)
  const rounds: { ours: LoadResult; floor: LoadResult }[] = []
  for (let round = -1; round < ROUNDS; round++) {
    const both = { ours: await loadPage(many), floor: await loadPage(few) }
    if (round >= 0) rounds.push(both)
  }
  const middle = (value: (round: { ours: LoadResult; floor: LoadResult }) => number) => median(rounds.map(value))
  const figure = (name: string, value: (result: LoadResult) => number): Figure => {
    const ratio = middle(({ ours, floor }) => value(ours) / value(floor))
    return {
      name: `GET /servers/detail?limit=${PAGE}, ${MANY} stored by ${PAGE} stored, ${name}`,
      ours: middle(({ ours }) => value(ours)),
      floor: middle(({ floor }) => value(floor)),
      ratio,
      reach: `≤ ${REACH}`,
      isReached: ratio <= REACH,
    }
  }
  return [
    figure('ms a request', ({ perSecond }) => 1000 / perSecond),
    figure('processor time a request, ms', ({ cpuMs }) => cpuMs),
  ]
}

/** One real server, and copies of it up to `count`. */
async function fill(data: DataDirectory, count: number): Promise<void> {
  {
    await using cloud = await CloudProcess.start(data)
    await cloud.untilActive(await cloud.createServer('web'))
  }
  storeServers(data.path, count)
}

async function loadPage(cloud: CloudProcess): Promise<LoadResult> {
  const url = cloud.at(`/servers/detail?limit=${PAGE}`)
  const answer = await fetch(url, { headers: cloud.headers })
  const { servers } = (await answer.json()) as { servers: unknown[] }
  if (servers.length !== PAGE) throw new Error(`The page holds ${servers.length} servers.`)
  return load({ url, headers: cloud.headers, pid: cloud.pid }, LOAD)
}
