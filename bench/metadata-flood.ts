/**
 * How long one guest waits for its metadata while a neighbour on its network floods the service: real namespaces and
 * filters, stand-ins for the guests, and answers from the database of a cloud.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { answerMetadata } from '../src/metadata/answer-metadata.ts'
import { SHARED_NETWORK_ID } from '../src/networks/seed-networks.ts'
import { NetworkWorld, newNetwork } from '../test/vm/network-world.ts'
import { StandIn } from '../test/vm/stand-in.ts'
import { CloudHere } from './support/cloud-here.ts'
import type { Figure } from './support/figure.ts'
import { median, percentile } from './support/statistics.ts'

const ROUNDS = 5
/** Questions a round, and the pause between them: less than a guest may ask for ever. */
const QUESTIONS = 40
const PAUSE_MS = 100

const SERVICE = "{ host: '169.254.169.254', path: '/openstack/latest/meta_data.json' }"

/** Asks in peace, each time by a new connection as cloud-init does, and prints how long each took. */
const ASKER = `
import { get } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
const took = []
for (let count = 0; count < ${QUESTIONS}; count++) {
  const since = performance.now()
  await new Promise((resolve, reject) => {
    get({ ...${SERVICE}, agent: false }, (answer) => {
      if (answer.statusCode !== 200) reject(new Error('answered ' + answer.statusCode))
      answer.resume().on('end', resolve)
    }).on('error', reject)
  })
  took.push(performance.now() - since)
  await pause(${PAUSE_MS})
}
console.log(JSON.stringify(took))
`

/** Asks without a pause until it is ended: by connections that stay, or by a new one each time. */
const flooder = (agent: string): string => `
import { Agent, get } from 'node:http'
const agent = ${agent}
const again = () => {
  const asked = get({ ...${SERVICE}, agent, timeout: 1000 }, (answer) => answer.resume().on('close', again))
  asked.on('timeout', () => asked.destroy()).on('error', () => setImmediate(again))
}
for (let count = 0; count < 64; count++) again()
`
const FLOODS = [
  ['by connections that stay open', flooder('new Agent({ keepAlive: true, maxSockets: 16 })')],
  ['by a new connection each', flooder('false')],
] as const

export async function measure(): Promise<Figure[]> {
  await using here = await CloudHere.open()
  await here.createServers(2)
  const own = await here.cloud.db.read
    .selectFrom('portAddresses')
    .innerJoin('ports', 'ports.id', 'portAddresses.portId')
    .innerJoin('servers', 'servers.id', 'ports.deviceId')
    .select('portAddresses.ipAddress')
    .execute()
  await using world = await NetworkWorld.open()
  const newPort = newNetwork()
  const plans = [newPort(), newPort()] as const
  await world.ensure(...plans)
  await using honest = await StandIn.plug(world.network, plans[0])
  await using neighbour = await StandIn.plug(world.network, plans[1])
  const addresses = new Map(plans.map(({ addresses: [one] }, index) => [one?.ipAddress, own[index]?.ipAddress ?? '']))
  world.answer = (question) => {
    world.asked.length = 0
    const ipAddress = addresses.get(question.ipAddress) ?? ''
    return answerMetadata(here.cloud, { ...question, networkId: SHARED_NETWORK_ID, ipAddress })
  }

  const quiet: number[] = []
  const flooded = FLOODS.map((): number[] => [])
  const ratios = FLOODS.map((): number[] => [])
  for (let round = 0; round < ROUNDS; round++) {
    const before = await askIn(honest.namespace)
    quiet.push(...before)
    for (const [index, [, program]] of FLOODS.entries()) {
      const flood = start(neighbour.namespace, program)
      try {
        const meanwhile = await askIn(honest.namespace)
        flooded[index]?.push(...meanwhile)
        ratios[index]?.push(median(meanwhile) / median(before))
      } finally {
        const ended = once(flood, 'close')
        flood.kill('SIGKILL')
        await ended
      }
    }
  }
  return FLOODS.flatMap(([kind], index) => [
    {
      name: `metadata while a neighbour floods ${kind}, p50, ms`,
      ours: median(flooded[index] ?? []),
      floor: median(quiet),
      ratio: median(ratios[index] ?? []),
    },
    {
      name: `the same, p99, ms`,
      ours: percentile(flooded[index] ?? [], 0.99),
      floor: percentile(quiet, 0.99),
    },
  ])
}

function start(namespace: string, program: string): ChildProcess {
  const args = ['netns', 'exec', namespace, process.execPath, '--input-type=module', '--eval', program]
  return spawn('ip', args, { stdio: ['ignore', 'pipe', 'inherit'] })
}

async function askIn(namespace: string): Promise<number[]> {
  const asker = start(namespace, ASKER)
  let said = ''
  asker.stdout?.setEncoding('utf8').on('data', (text: string) => {
    said += text
  })
  const [code] = await once(asker, 'close')
  if (code !== 0) throw new Error(`The asking guest ended with ${code}.`)
  return JSON.parse(said)
}
