/** From what a router's namespace holds to what it should: lines for `ip -batch`. Pure. */
import type { RouterDesign, RouterDevice } from './router-design.ts'
import { GATEWAY_PREFIX, INTERFACE_PREFIX } from './router-names.ts'

/** A device as `ip -j addr show` tells it; only what is read here. */
export interface RouterLink {
  ifname: string
  address?: string
  mtu: number
  /** The kind of queue at its root. */
  qdisc?: string
  flags: string[]
  addr_info: { family: string; local?: string; prefixlen?: number; scope?: string }[]
}

/** A route by a next hop as `ip -j route show` tells it. */
export interface ObservedRoute {
  dst: string
  gateway: string
}

export interface ObservedRouter {
  links: RouterLink[]
  routes: ObservedRoute[]
  /** Devices whose root is a queue of the kind that limits rates. */
  shaped: string[]
}

/** Where the other end of each cable belongs, by its name, and whether it is there. */
export type Ends = ReadonlyMap<string, { namespace: string; isThere: boolean }>

/**
 * Changes of devices and addresses; none when all is so already. Takes away devices of ours and addresses that the
 * design does not name, and leaves other devices alone.
 */
export function planRouterLinks(design: RouterDesign, { links }: Pick<ObservedRouter, 'links'>, ends: Ends): string[] {
  const byName = new Map(links.map((link) => [link.ifname, link]))
  const wanted = new Set(design.devices.map(({ name }) => name))
  const isOurs = (name: string) => name.startsWith(INTERFACE_PREFIX) || name.startsWith(GATEWAY_PREFIX)
  return [
    ...(byName.get('lo')?.flags.includes('UP') ? [] : ['link set lo up']),
    ...links.flatMap(({ ifname }) => (isOurs(ifname) && !wanted.has(ifname) ? [`link delete ${ifname}`] : [])),
    ...design.devices.flatMap((device) => planDevice(device, byName.get(device.name), ends)),
  ]
}

function planDevice(device: RouterDevice, found: RouterLink | undefined, ends: Ends): string[] {
  const { name, endName, mac, mtu } = device
  const end = ends.get(endName)
  if (!end) throw new Error(`Nobody said where ${endName} belongs`)
  // An end that somebody moved elsewhere takes its device along: both are made anew.
  const link = end.isThere ? found : undefined
  const present = (link?.addr_info ?? [])
    .filter(({ scope, local }) => scope === 'global' && local !== undefined)
    .map(({ local, prefixlen }) => `${local}/${prefixlen}`)
  const peer = `peer name ${endName} mtu ${mtu} netns ${end.namespace}`
  return [
    ...(found && !link ? [`link delete ${name}`] : []),
    ...(link ? [] : [`link add ${name} address ${mac} mtu ${mtu} type veth ${peer}`]),
    ...(link && link.address !== mac ? [`link set ${name} address ${mac}`] : []),
    ...(link && link.mtu !== mtu ? [`link set ${name} mtu ${mtu}`] : []),
    ...(link?.flags.includes('UP') ? [] : [`link set ${name} up`]),
    ...present.filter((one) => !device.addresses.includes(one)).map((one) => `addr del ${one} dev ${name}`),
    // Without asking whether somebody has it: the address is this router's, and asking would take a second.
    ...device.addresses
      .filter((one) => !present.includes(one))
      .map((one) => `addr add ${one} dev ${name}${one.includes(':') ? ' nodad' : ''}`),
  ]
}

/** Changes of routes, for when all devices are as they should be: the kernel drops routes with their addresses. */
export function planRouterRoutes(design: RouterDesign, { routes }: Pick<ObservedRouter, 'routes'>): string[] {
  const wanted = new Set(design.routes.map(({ to, via }) => `${to} via ${via}`))
  const present = new Set(routes.map(({ dst, gateway }) => `${dst} via ${gateway}`))
  return [
    ...[...present].filter((route) => !wanted.has(route)).map((route) => `route del ${route}`),
    ...[...wanted].filter((route) => !present.has(route)).map((route) => `route replace ${route} proto static`),
  ]
}
