/** A port as its network holds it: the plan without what it shares with other ports, and its number in the filters. */
import type { PortPlan } from '../host-driver.ts'

export interface HeldPort extends Omit<PortPlan, 'network' | 'securityGroups'> {
  /** 1 to 32767; stays with the port, and is given again when the port has gone. */
  number: number
  /** Its groups by id, sorted; null: it is not filtered at all. */
  groupIds: string[] | null
}

/** Port numbers have 15 bits of a packet's mark; see nft-rules.ts. */
const MOST_PORTS = 0x7fff

export function holdPort({ network: _, securityGroups, ...rest }: PortPlan, number: number): HeldPort {
  return {
    ...rest,
    number,
    groupIds: securityGroups && [...new Set(securityGroups.map(({ groupId }) => groupId))].sort(),
  }
}

/**
 * The lowest number that none of them has.
 * @throws Error when there is none.
 */
export function freeNumber(ports: Iterable<{ number: number }>): number {
  const taken = new Set([...ports].map(({ number }) => number))
  let number = 1
  while (taken.has(number)) number++
  if (number > MOST_PORTS) throw new Error(`Too many ports on one network: ${taken.size}`)
  return number
}
