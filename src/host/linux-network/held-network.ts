/** What one network here was asked to hold, as a value, and how each verb changes it. Pure. */
import type { NetworkPlan, PortPlan, SecurityGroupPlan } from '../host-driver.ts'
import { freeNumber, type HeldPort, holdPort } from './held-port.ts'
import { safeEndName } from './router-ends.ts'

export interface HeldNetwork {
  /** The newest word about the network; undefined when none could be read. */
  network: NetworkPlan | undefined
  ports: ReadonlyMap<string, HeldPort>
  /** Ports that an earlier run held, but whose plan cannot be read: their taps are left alone, as guests may use them. */
  damaged: ReadonlySet<string>
  /** The groups of its ports, by id. */
  groups: ReadonlyMap<string, SecurityGroupPlan>
  /** By group: the newest word about its members, for the groups that a rule names. */
  members: ReadonlyMap<string, readonly string[]>
  /** Router's ends, by their device's name. */
  ends: ReadonlySet<string>
}

export const NOTHING_HELD: HeldNetwork = {
  network: undefined,
  ports: new Map(),
  damaged: new Set(),
  groups: new Map(),
  members: new Map(),
  ends: new Set(),
}

/** Whether the network has no reason to be here. */
export const isEmpty = ({ ports, damaged, ends }: HeldNetwork): boolean => ports.size + damaged.size + ends.size === 0

/** What stays the same stays the same object. */
export function withPort(held: HeldNetwork, plan: PortPlan): HeldNetwork {
  const known = held.ports.get(plan.portId)
  const port = settled(known, holdPort(plan, known?.number ?? freeNumber(held.ports.values())))
  const grouped = (plan.securityGroups ?? []).reduce(withGroup, {
    ...held,
    network: settled(held.network, plan.network),
    ports: new Map(held.ports).set(plan.portId, port),
    damaged: without(held.damaged, plan.portId),
  })
  return withoutUnused(grouped)
}

export function withoutPort(held: HeldNetwork, portId: string): HeldNetwork {
  const ports = new Map(held.ports)
  ports.delete(portId)
  return withoutUnused({ ...held, ports, damaged: without(held.damaged, portId) })
}

export const withNetwork = (held: HeldNetwork, network: NetworkPlan): HeldNetwork => ({
  ...held,
  network: settled(held.network, network),
})

/** Whether a port here is in the group. */
export const hasGroup = ({ groups }: HeldNetwork, groupId: string): boolean => groups.has(groupId)

export function withGroup(held: HeldNetwork, group: SecurityGroupPlan): HeldNetwork {
  const known = held.groups.get(group.groupId)
  const members = new Map(held.members)
  for (const { groupId, addresses } of group.members) members.set(groupId, addresses)
  return { ...held, groups: new Map(held.groups).set(group.groupId, settled(known, group)), members }
}

/** @throws Error when the name is none. */
export const withEnd = (held: HeldNetwork, network: NetworkPlan, endName: string): HeldNetwork => ({
  ...withNetwork(held, network),
  ends: new Set(held.ends).add(safeEndName(endName)),
})

export const withoutEnd = (held: HeldNetwork, endName: string): HeldNetwork => ({
  ...held,
  ends: without(held.ends, endName),
})

/** Groups without a port go, and members of groups that no rule names. */
function withoutUnused(held: HeldNetwork): HeldNetwork {
  const used = new Set([...held.ports.values()].flatMap(({ groupIds }) => groupIds ?? []))
  const groups = new Map([...held.groups].filter(([groupId]) => used.has(groupId)))
  const named = new Set([...groups.values()].flatMap(({ rules }) => rules.map(({ remoteGroupId }) => remoteGroupId)))
  return { ...held, groups, members: new Map([...held.members].filter(([groupId]) => named.has(groupId))) }
}

function without(from: ReadonlySet<string>, item: string): ReadonlySet<string> {
  const rest = new Set(from)
  rest.delete(item)
  return rest
}

const settled = <T>(known: T | undefined, wanted: T): T =>
  known !== undefined && JSON.stringify(known) === JSON.stringify(wanted) ? known : wanted
