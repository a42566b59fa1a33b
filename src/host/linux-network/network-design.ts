/** Everything a guest network should be, worked out before anything is written or touched. Pure. */
import type { NetworkPlan } from '../host-driver.ts'
import { type DhcpConfig, type DhcpFiles, planDhcp } from './dhcp-config.ts'
import type { HeldNetwork } from './held-network.ts'
import { type ObservedLink, planLinks, type TapUser } from './link-plan.ts'
import { BRIDGE, tapName } from './names.ts'
import { planFilters } from './nft-rules.ts'
import type { Ruleset } from './ruleset.ts'

/** A namespace as this process last left it; `inode` tells it from a later one of the same name. */
export interface Prepared {
  inode: number
  filters?: Ruleset
  /** The text of `filters` in force, once it was seen to be right. */
  seenFilters?: string
  /** Whether the kernel limits connections; undefined until it was tried. */
  isLimited?: boolean
  links?: ObservedLink[]
  /** Whether a bridge, by its number, was told to speak IPv6. */
  ipv6?: { ifindex: number | undefined; speaks: boolean }
}

export interface NetworkDesign {
  network: NetworkPlan
  filters: Ruleset
  dhcp: DhcpConfig | undefined
  linkChanges: (observed: readonly ObservedLink[], prepared: Prepared) => string[]
}

interface DesignParts {
  tapUser: TapUser
  dhcpUser: { name: string; group: string }
  files: DhcpFiles
}

/** @throws Error when a plan carries a value that is none. */
export function designNetwork(network: NetworkPlan, held: HeldNetwork, parts: DesignParts): NetworkDesign {
  const { tapUser, dhcpUser, files } = parts
  const ports = [...held.ports.values()].sort((a, b) => a.number - b.number)
  const unread = new Set([...held.damaged].map(tapName))
  const links = { network, portIds: [...held.ports.keys()], ends: held.ends }
  planLinks({ ...links, speaksIpv6: true }, [], tapUser) // a value that is none shows now
  return {
    network,
    filters: planFilters({ network, ports, groups: held.groups, members: held.members }),
    dhcp: planDhcp(network, ports, files, dhcpUser),
    linkChanges: (observed, { ipv6 }) => {
      const known = observed.filter(({ ifname }) => !unread.has(ifname))
      const bridge = bridgeOf(observed)
      const speaks = ipv6?.speaks === true && bridge !== undefined && ipv6.ifindex === bridge.ifindex
      return planLinks({ ...links, speaksIpv6: speaks }, known, tapUser)
    },
  }
}

export const bridgeOf = (links: readonly ObservedLink[]): ObservedLink | undefined =>
  links.find(({ ifname }) => ifname === BRIDGE)
