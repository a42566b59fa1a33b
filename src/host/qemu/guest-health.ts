import { isIP } from 'node:net'
import { type GuestHealth, NO_HEALTH } from '../guest-agent-host.ts'
import { AgentError, cleanText, type GuestAgent } from './guest-agent.ts'

/** How long each answer, and all of them, may take. */
const ANSWER_MS = 2_000
const ALL_ANSWERS_MS = 6_000
/** More than any guest has a use for. */
const MOST_INTERFACES = 32
const MOST_ADDRESSES = 32

type Facts = Partial<Omit<GuestHealth, 'agent'>>

/** What is asked, in this order; each answer is made into what it tells. Source: docs/interop/qemu-ga-ref of QEMU. */
const QUESTIONS: [command: string, tells: (answer: unknown, askedAt: number) => Facts][] = [
  ['guest-info', (answer) => ({ version: textOf(answer, 'version', 64) })],
  ['guest-fsfreeze-status', (answer) => ({ fileSystems: oneOf(['thawed', 'frozen'] as const, answer) })],
  ['guest-get-time', (answer, askedAt) => ({ clockOffsetMs: offsetOf(answer, askedAt) })],
  ['guest-network-get-interfaces', (answer) => ({ interfaces: interfacesOf(answer) })],
  ['guest-get-host-name', (answer) => ({ hostName: textOf(answer, 'host-name', 255) })],
  ['guest-get-osinfo', (answer) => ({ operatingSystem: textOf(answer, 'pretty-name', 255) })],
]

/** Asks an agent that answers for all it knows; what it refuses, or does not answer in time, is not told. Never fails. */
export async function readHealth(agent: GuestAgent): Promise<GuestHealth> {
  const health: GuestHealth = { ...NO_HEALTH, agent: 'answers' }
  const deadline = performance.now() + ALL_ANSWERS_MS
  for (const [command, tells] of QUESTIONS) {
    const leftMs = Math.ceil(Math.min(ANSWER_MS, deadline - performance.now()))
    if (leftMs <= 0) break
    const askedAt = Date.now()
    try {
      Object.assign(health, tells(await agent.execute(command, {}, leftMs), askedAt))
    } catch (error) {
      if (error instanceof AgentError) continue
      // Its answer may still come, and would be taken for the next one's.
      if (!(await isInStep(agent, deadline))) break
    }
  }
  return health
}

async function isInStep(agent: GuestAgent, deadline: number): Promise<boolean> {
  const leftMs = Math.ceil(Math.min(ANSWER_MS, deadline - performance.now()))
  if (leftMs <= 0) return false
  return await agent.synchronize(leftMs).then(
    () => true,
    () => false,
  )
}

const member = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined

const textOf = (value: unknown, name: string, most: number): string | null =>
  cleanText(member(value, name), most) ?? null

const oneOf = <T>(known: readonly T[], value: unknown): T | null => known.find((one) => one === value) ?? null

/** @param answer nanoseconds. @param askedAt epoch milliseconds. */
export function offsetOf(answer: unknown, askedAt: number, answeredAt = Date.now()): number | null {
  if (typeof answer !== 'number') return null
  const offset = Math.round(answer / 1_000_000 - (askedAt + answeredAt) / 2)
  return Number.isSafeInteger(offset) ? offset : null
}

/** What `guest-network-get-interfaces` answers, without the loopback and whatever is none of it. */
export function interfacesOf(answer: unknown): GuestHealth['interfaces'] {
  return list(answer, MOST_INTERFACES).flatMap((one) => {
    const name = textOf(one, 'name', 64)
    const addresses = list(member(one, 'ip-addresses'), MOST_ADDRESSES)
    const ipAddresses = addresses.flatMap((address) => {
      const text = member(address, 'ip-address')
      return typeof text === 'string' && text.length <= 45 && isIP(text) !== 0 ? [text] : []
    })
    const isLoopback = name === 'lo' || ipAddresses.includes('127.0.0.1') || ipAddresses.includes('::1')
    if (name === null || isLoopback) return []
    return [{ name, macAddress: macOf(member(one, 'hardware-address')), ipAddresses }]
  })
}

const list = (value: unknown, most: number): unknown[] => (Array.isArray(value) ? value.slice(0, most) : [])

const macOf = (value: unknown): string | null =>
  typeof value === 'string' && /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(value) ? value.toLowerCase() : null
