/** What a rule in Nova's words means in the network service's. Pure. */
import { ApiError } from '../http/api-error.ts'
import type { RuleWish } from '../security-groups/rule-wish.ts'

/** As a request has it; types are checked already. */
export interface NovaRuleWish {
  ip_protocol?: string | null
  from_port?: number | string | null
  to_port?: number | string | null
  cidr?: string | null
  group_id?: string | null
}

const ALL_PORTS = { port_range_min: 1, port_range_max: 65_535 }

/**
 * What comes in, from a block (everywhere without any) or from a group. A rule from a group may leave out protocol and
 * ports, and then means everything. In ICMP, -1 means every type, or code.
 * @throws ApiError badRequest for what is missing or contradicts itself.
 */
export function readNovaRule(wish: NovaRuleWish): RuleWish {
  const cidr = wish.cidr || null
  const groupId = wish.group_id || null
  const protocol = wish.ip_protocol?.toLowerCase() || null
  const [from, to] = [readPort(wish.from_port), readPort(wish.to_port)]
  if (cidr !== null && groupId !== null) throw new ApiError('badRequest', 'Only one of cidr and group_id may be given.')
  const remote = groupId === null ? { remote_ip_prefix: cidr ?? '0.0.0.0/0' } : { remote_group_id: groupId }
  const rule: RuleWish = { direction: 'ingress', ethertype: cidr?.includes(':') ? 'IPv6' : 'IPv4', ...remote }
  if (protocol === null && from === null && to === null && groupId !== null) return rule
  if (protocol === null) throw new ApiError('badRequest', 'A rule needs an ip_protocol: tcp, udp or icmp.')
  if (!['tcp', 'udp', 'icmp'].includes(protocol)) {
    throw new ApiError('badRequest', `Invalid IP protocol ${protocol}: it is tcp, udp or icmp.`)
  }
  if (from === null && to === null && groupId !== null && protocol !== 'icmp')
    return { ...rule, protocol, ...ALL_PORTS }
  if (from === null || to === null) throw new ApiError('badRequest', 'A rule needs from_port and to_port.')
  if (protocol === 'icmp') {
    const type = from === -1 ? null : from
    // A code without a type means nothing.
    return { ...rule, protocol, port_range_min: type, port_range_max: type === null || to === -1 ? null : to }
  }
  if (from === -1 && to === -1) return { ...rule, protocol, ...ALL_PORTS }
  if (from < 1 || to < from) {
    throw new ApiError('badRequest', `Invalid port range ${from}:${to}. Ports go from 1 to 65535.`)
  }
  return { ...rule, protocol, port_range_min: from, port_range_max: to }
}

function readPort(given: number | string | null | undefined): number | null {
  if (given === null || given === undefined) return null
  const port = Number(given)
  if (port <= 65_535) return port
  throw new ApiError('badRequest', `Invalid port ${given}. Ports go from 1 to 65535.`)
}
