/**
 * One rule of a security group added, until the host has followed: with ten, a hundred and a thousand ports in the group
 * on the memory host, and with ten and a hundred taps behind real filters, without guests.
 */

import type { RulePlan, SecurityGroupPlan } from '../src/host/host-driver.ts'
import { NetworkWorld, newNetwork, OUT } from '../test/vm/network-world.ts'
import { CloudHere } from './support/cloud-here.ts'
import type { Figure } from './support/figure.ts'
import { median, timed } from './support/statistics.ts'

const ROUNDS = 30
const FEW = 10
const MANY = [100, 1_000]
/** As many taps as a busy host has in one network. */
const TAPS = 100
const REACH = 1.2

export async function measure(): Promise<Figure[]> {
  return [...(await measureMemory()), await measureFilters()]
}

async function measureMemory(): Promise<Figure[]> {
  await using few = await cloudOf(FEW)
  const figures: Figure[] = []
  for (const count of MANY) {
    await using many = await cloudOf(count)
    const name = `one rule more, until the host followed, ${count} by ${FEW} memory ports, ms`
    figures.push(
      await inTurns(
        name,
        () => addRule(many),
        () => addRule(few),
      ),
    )
  }
  return figures
}

async function cloudOf(ports: number): Promise<CloudHere> {
  const here = await CloudHere.open()
  await here.createServers(ports)
  await here.cloud.networkChanges.settled()
  return here
}

/** @returns how long it took, in milliseconds. @throws Error when the host was asked anything else than once. */
async function addRule(here: CloudHere): Promise<number> {
  const { security_groups: groups } = await here.ask<{ security_groups: { id: string; name: string }[] }>(
    'GET',
    '/os-security-groups',
  )
  const parent_group_id = groups.find(({ name }) => name === 'default')?.id
  const asked: string[] = []
  here.host.intercept = (verb, _id, run) => {
    if (verb !== 'readServers') asked.push(verb)
    return run()
  }
  let id = ''
  const tookMs = await timed(async () => {
    const rule = { parent_group_id, ip_protocol: 'tcp', from_port: 8_080, to_port: 8_080, cidr: '198.51.100.0/24' }
    const made = await here.ask<{ security_group_rule: { id: string } }>('POST', '/os-security-group-rules', {
      security_group_rule: rule,
    })
    id = made.security_group_rule.id
    await here.cloud.networkChanges.settled()
  })
  if (asked.join() !== 'ensureSecurityGroup') throw new Error(`The host was asked ${asked.join(', ')}.`)
  await here.ask('DELETE', `/os-security-group-rules/${id}`)
  await here.cloud.networkChanges.settled()
  return tookMs
}

async function measureFilters(): Promise<Figure> {
  await using few = await NetworkWorld.open()
  await using many = await NetworkWorld.open()
  await plug(few, FEW)
  await plug(many, TAPS)
  const name = `the same on the kernel's filters, ${TAPS} by ${FEW} taps, ms`
  return await inTurns(
    name,
    (round) => applyRule(many, round),
    (round) => applyRule(few, round),
  )
}

async function plug(world: NetworkWorld, count: number): Promise<void> {
  const plan = newNetwork()
  for (let n = 0; n < count; n++) await world.ensure(plan({ securityGroups: [groupWith()] }))
}

/** Changes one rule: the group allows another port than in the round before. */
const applyRule = (world: NetworkWorld, round: number): Promise<number> =>
  timed(() => world.network.ensureSecurityGroup(groupWith(8_080 + (round % 2))))

const groupWith = (port?: number): SecurityGroupPlan => {
  const rule: RulePlan = {
    ...OUT,
    direction: 'ingress',
    protocol: 'tcp',
    portRangeMin: port ?? 22,
    portRangeMax: port ?? 22,
  }
  return { groupId: 'bench', rules: [OUT, rule], members: [] }
}

/** Both after each other, round by round; the first round, which compiles, does not count. */
async function inTurns(
  name: string,
  ours: (round: number) => Promise<number>,
  floor: (round: number) => Promise<number>,
): Promise<Figure> {
  const rounds: { ours: number; floor: number }[] = []
  for (let round = 0; round <= ROUNDS; round++) {
    const both = { ours: await ours(round), floor: await floor(round) }
    if (round > 0) rounds.push(both)
  }
  const ratio = median(rounds.map((round) => round.ours / round.floor))
  return {
    name,
    ours: median(rounds.map((round) => round.ours)),
    floor: median(rounds.map((round) => round.floor)),
    ratio,
    reach: `≤ ${REACH}`,
    isReached: ratio <= REACH,
  }
}
