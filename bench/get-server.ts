/** GET of one server against a bare Fastify route that answers the same bytes; both loaded in turns. */
import { BareProcess } from './support/bare-process.ts'
import { CloudProcess, DataDirectory } from './support/cloud-process.ts'
import type { Figure } from './support/figure.ts'
import { type LoadResult, load } from './support/load.ts'
import { median } from './support/statistics.ts'

const ROUNDS = 5
const LOAD = { connections: 8, seconds: 3 }
const REACH = 0.25

export async function measure(): Promise<Figure[]> {
  await using data = await DataDirectory.make()
  await using cloud = await CloudProcess.start(data)
  const id = await cloud.createServer('web')
  await cloud.untilActive(id)
  const target = { url: cloud.at(`/servers/${id}`), headers: cloud.headers, pid: cloud.pid }
  const answer = await (await fetch(target.url, { headers: cloud.headers })).text()
  await using bare = await BareProcess.start(answer)

  // A URL that was never asked before has no answer that could be kept.
  const newEachTime = { ...target, url: `${target.url}?[<id>]` }

  const rounds: { ours: LoadResult; floor: LoadResult; anew: LoadResult }[] = []
  await load(target, LOAD)
  await load(bare, LOAD)
  for (let round = 0; round < ROUNDS; round++) {
    rounds.push({
      ours: await load(target, LOAD),
      floor: await load(bare, LOAD),
      anew: await load(newEachTime, LOAD),
    })
  }
  const middle = (value: (round: (typeof rounds)[number]) => number) => median(rounds.map(value))
  const ratio = middle(({ ours, floor }) => ours.perSecond / floor.perSecond)
  const cpu = middle(({ ours, floor }) => floor.cpuMs / ours.cpuMs)
  const reach = `≥ ${REACH}`
  return [
    {
      name: 'GET one server, 8 connections, requests/s',
      ours: middle(({ ours }) => ours.perSecond),
      floor: middle(({ floor }) => floor.perSecond),
      ratio,
      reach,
      isReached: ratio >= REACH,
    },
    {
      name: 'the same, processor time a request, ms (ratio: floor by ours)',
      ours: middle(({ ours }) => ours.cpuMs),
      floor: middle(({ floor }) => floor.cpuMs),
      ratio: cpu,
      reach,
      isReached: cpu >= REACH,
    },
    {
      name: 'the same with no answer kept, requests/s',
      ours: middle(({ anew }) => anew.perSecond),
      floor: middle(({ floor }) => floor.perSecond),
      ratio: middle(({ anew, floor }) => anew.perSecond / floor.perSecond),
    },
  ]
}
