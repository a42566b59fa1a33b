/**
 * Rate limits of floating IPs: one HTB class each, of the same number on every device of the router, so what leaves by
 * the gateway is limited there and what comes in is limited where it leaves towards the guest. Pure.
 *
 * The class is told by the packet's priority, which the router's rules set (router-rules.ts): they know by which
 * floating IP a packet came, also when it goes on to the guest's own address or is a reply. Classifiers of `tc` could
 * not: between networks of the tenant the same addresses go unlimited. What no rule marks passes without a queue.
 */
import type { FloatingDesign, RouterDesign } from './router-design.ts'

export interface Limit {
  outside: string
  /** 1 to 65535: the minor number of the class. */
  number: number
  rateKbps: number
}

/** A class as `tc class show` tells it. */
export interface ObservedClass {
  device: string
  number: number
  rateKbps: number
}

/** The queues of a router's devices. */
export interface ObservedQueues {
  /** Devices whose root is our kind of queue. */
  shaped: string[]
  classes: ObservedClass[]
}

/** How long a full queue holds what waits, in seconds; and the least it can hold, two of the largest packets. */
const QUEUE_S = 0.2
const LEAST_QUEUE_BYTES = 131_072

/**
 * The limited ones with a number each: the last two bytes of the address, or the next free one. So a limit keeps its
 * number, and its queue, whatever becomes of the others, unless the external network is larger than a /16.
 */
export function numberLimits(floating: readonly FloatingDesign[]): Limit[] {
  const taken = new Set([0, 0xffff])
  return floating
    .filter(({ rateKbps }) => rateKbps > 0)
    .map(({ outside, rateKbps }) => {
      const [, , third = 0, fourth = 0] = outside.split('.').map(Number)
      let number = third * 256 + fourth
      while (taken.has(number)) number = (number + 1) % 0x10000
      taken.add(number)
      return { outside, number, rateKbps }
    })
}

/** Lines for `tc -batch`; none when all is so already. Classes whose rate stays are not touched. */
export function planQueues(design: RouterDesign, observed: ObservedQueues): string[] {
  const limits = numberLimits(design.floating)
  return design.devices.flatMap(({ name }) => planDevice(name, limits, observed))
}

function planDevice(name: string, limits: readonly Limit[], { shaped, classes }: ObservedQueues): string[] {
  const isShaped = shaped.includes(name)
  if (limits.length === 0) return isShaped ? [`qdisc del dev ${name} root`] : []
  const present = new Map(
    isShaped ? classes.filter(({ device }) => device === name).map((one) => [one.number, one]) : [],
  )
  const wanted = new Set(limits.map(({ number }) => number))
  return [
    ...(isShaped ? [] : [`qdisc replace dev ${name} root handle 1: htb default 0`]),
    ...[...present.keys()]
      .filter((number) => !wanted.has(number))
      .map((number) => `class del dev ${name} classid 1:${hex(number)}`),
    ...limits.flatMap(({ number, rateKbps }) => {
      const now = present.get(number)?.rateKbps
      if (now !== undefined && isSameRate(now, rateKbps)) return []
      return [
        `class replace dev ${name} parent 1: classid 1:${hex(number)} htb rate ${rateKbps}kbit burst 16k quantum 60000`,
        `qdisc replace dev ${name} parent 1:${hex(number)} bfifo limit ${queueBytes(rateKbps)}`,
      ]
    }),
  ]
}

const queueBytes = (rateKbps: number): number =>
  Math.max(LEAST_QUEUE_BYTES, Math.round((rateKbps * 1000 * QUEUE_S) / 8))

/** `tc` prints large rates rounded. */
const isSameRate = (a: number, b: number): boolean => Math.abs(a - b) <= b / 500

/** How a class is written for `tc` and `nft` alike. */
export const hex = (number: number): string => number.toString(16)

const UNITS: Record<string, number> = { bit: 0.001, Kbit: 1, Mbit: 1_000, Gbit: 1_000_000, Tbit: 1_000_000_000 }

/** Reads `tc class show dev DEVICE`, which has no JSON for these: `class htb 1:5 root leaf 8001: prio 0 rate 1Mbit …`. */
export function readClasses(device: string, text: string): ObservedClass[] {
  return text.split('\n').flatMap((line) => {
    const [, number, value, unit] = /^class htb 1:([0-9a-f]+) .*? rate (\d+)([KMGT]?bit) /.exec(line) ?? []
    if (number === undefined || unit === undefined) return []
    return [{ device, number: Number.parseInt(number, 16), rateKbps: Number(value) * (UNITS[unit] ?? 1) }]
  })
}
