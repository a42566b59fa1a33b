/** Loses host calls one by one, and kills the process at each: whatever is accepted must end well all the same. */

import assert from 'node:assert/strict'
import { HostError } from '../../src/host/host-driver.ts'
import type { Intercept } from '../../src/host/memory/memory-driver.ts'
import { readUploads } from '../../src/images/upload-files.ts'
import type { TestCloud } from './test-cloud.ts'

/** How a call is lost: before it had its effect, or after, with only the answer gone. */
export type Loss = 'call' | 'answer'
export const LOSSES: Loss[] = ['call', 'answer']

/** What sweeps and requests ask, and what makes hosts follow the network API; none of it belongs to an action. */
const BESIDE_ACTIONS = new Set([
  'readServers',
  'readConsole',
  'readGuestHealth',
  'readNetworking',
  'ensureNetwork',
  'ensureSecurityGroup',
  'ensureRouter',
  'removeRouter',
])

/** Verbs of one action. */
export const isCounted = (verb: string): boolean => !BESIDE_ACTIONS.has(verb)

/** Lets everything through, and counts. */
export function counting(): { intercept: Intercept; calls: string[] } {
  const calls: string[] = []
  return {
    calls,
    intercept: (verb, _id, run) => {
      if (isCounted(verb)) calls.push(verb)
      return run()
    },
  }
}

/** Loses the call number `nth` (from 0), once. */
export function losing(nth: number, loss: Loss): Intercept {
  let seen = -1
  return async (verb, _id, run) => {
    if (!isCounted(verb)) return run()
    seen += 1
    if (seen !== nth) return run()
    if (loss === 'answer') await run()
    throw new HostError('unreachable', `The ${loss} of ${verb} was lost.`)
  }
}

/** Resolves `reached` at call number `nth`, which never answers; its effect is had first when only the answer is lost. */
export function hangingAt(nth: number, loss: Loss): { intercept: Intercept; reached: Promise<void> } {
  let seen = -1
  let reach = () => {}
  const reached = new Promise<void>((resolve) => {
    reach = resolve
  })
  const intercept: Intercept = async (verb, _id, run) => {
    if (!isCounted(verb)) return run()
    seen += 1
    if (seen !== nth) return run()
    if (loss === 'answer') await run()
    reach()
    return new Promise(() => {})
  }
  return { intercept, reached }
}

/** What is left of a server on its host and in the tables that only living servers have rows in. */
export async function tracesOf(cloud: TestCloud, serverId: string): Promise<string[]> {
  const { read } = cloud.cloud.db
  const traces: string[] = []
  if (cloud.machine.servers.has(serverId)) traces.push('server on the host')
  for (const port of cloud.machine.ports.values()) if (port.serverId === serverId) traces.push('port on the host')
  const ports = await read.selectFrom('ports').select('id').where('deviceId', '=', serverId).execute()
  const claims = await read.selectFrom('claims').select('serverId').where('serverId', '=', serverId).execute()
  traces.push(...ports.map(() => 'port row'), ...claims.map(() => 'claim'))
  const devices = await read.selectFrom('blockDevices').select('id').where('serverId', '=', serverId).execute()
  traces.push(...devices.map(() => 'disk row'))
  const keys = await read.selectFrom('serverKeypairs').select('name').where('serverId', '=', serverId).execute()
  traces.push(...keys.map(() => 'key'))
  const volumes = await read.selectFrom('volumes').select('id').execute()
  const strays = new Set(cloud.machine.volumes.keys()).symmetricDifference(new Set(volumes.map(({ id }) => id)))
  traces.push(...[...strays].map(() => 'volume without a row, or without bytes'))
  const images = await read.selectFrom('images').select(['id', 'status']).execute()
  traces.push(...images.filter(({ status }) => status !== 'active').map(() => 'image that is not done'))
  const imageIds = new Set(images.map(({ id }) => id))
  const files = (await readUploads(cloud.cloud.config)).map(({ imageId }) => imageId)
  for (const id of [...cloud.machine.images, ...files]) if (!imageIds.has(id)) traces.push('image without a row')
  return traces
}

/** What the host has claimed according to its counters, which must be the sum of the claims. */
export async function countersAndClaims(cloud: TestCloud): Promise<{ counters: number[]; sums: number[] }> {
  const { read } = cloud.cloud.db
  const hosts = await read.selectFrom('hosts').selectAll().execute()
  const claims = await read.selectFrom('claims').selectAll().execute()
  const sum = (values: number[]): number => values.reduce((total, value) => total + value, 0)
  return {
    counters: [
      sum(hosts.map((host) => host.claimedVcpus)),
      sum(hosts.map((host) => host.claimedRamMib)),
      sum(hosts.map((host) => host.claimedDiskGib)),
    ],
    sums: [
      sum(claims.map((claim) => claim.vcpus)),
      sum(claims.map((claim) => claim.ramMib)),
      sum(claims.map((claim) => claim.diskGib)),
    ],
  }
}

/**
 * Turns the clock until the call comes: some steps wait before they ask. It is turned only while nothing is under way,
 * or a database that takes its time would see minutes pass, and the guest's patience with them.
 */
export async function reach(cloud: TestCloud, reached: Promise<void>): Promise<void> {
  let isReached = false
  const seen = reached.then(() => {
    isReached = true
  })
  for (let turns = 0; turns < 1_000; turns++) {
    // Once the call hangs, nothing settles any more.
    await Promise.race([seen, cloud.settled()])
    if (isReached) return
    cloud.clock.advance(250)
  }
  assert.fail('the call never came')
}
