/** What a caller may write into a rule, checked as Neutron checks it. Pure. */
import type { RulePlan } from '../host/host-driver.ts'
import { formatNetwork, type IpNetwork, parseNetwork } from '../lib/ip.ts'
import { networkError } from '../network-api/network-errors.ts'
import { ICMP, ICMPV6, ONLY_IPV6, protocolNumber, WITH_PORTS } from './protocols.ts'

/** A rule in the API's words; types are checked already. */
export interface RuleWish {
  direction: 'ingress' | 'egress'
  /** `IPv4` (default) or `IPv6`, in any case. */
  ethertype?: string | null | undefined
  /** A name, or a number from 0 to 255 in either type; null, `any` and '' mean all. */
  protocol?: string | number | null | undefined
  /** 0 to 65535; of ICMP the type. */
  port_range_min?: number | null | undefined
  /** 0 to 65535; of ICMP the code. */
  port_range_max?: number | null | undefined
  /** A block, or an address alone, which means itself. */
  remote_ip_prefix?: string | null | undefined
  remote_group_id?: string | null | undefined
  description?: string | undefined
}

/**
 * The rule that is meant, the prefix as it was given.
 * @throws ApiError badRequest, of the type Neutron has for each mistake.
 */
export function readRule(wish: RuleWish): RulePlan {
  const rule: RulePlan = {
    direction: wish.direction,
    ethertype: readEthertype(wish.ethertype),
    protocol: readProtocol(wish.protocol),
    portRangeMin: wish.port_range_min ?? null,
    portRangeMax: wish.port_range_max ?? null,
    remoteIpPrefix: wish.remote_ip_prefix || null,
    remoteGroupId: wish.remote_group_id || null,
  }
  checkPorts(rule)
  checkRemote(rule)
  return rule
}

/** The block a prefix stands for, as it is usually written: `10.0.0.7/24` is `10.0.0.0/24`. */
export function normalizedCidr(prefix: string): string {
  const network = readPrefix(prefix)
  return network ? formatNetwork(network) : prefix
}

/** All ways in which rules may have what `prefix` says; null means everything, and so does a block of all addresses. */
export function samePrefixes(prefix: string | null): (string | null)[] {
  if (prefix === null) return [null, '0.0.0.0/0', '::/0']
  const network = readPrefix(prefix)
  if (!network) return [prefix]
  const short = formatNetwork(network)
  const same = [prefix, short, ...(network.first === network.last ? [short.replace(/\/\d+$/, '')] : [])]
  return network.prefix === 0 ? [null, ...same] : [...new Set(same)]
}

/** An address alone is a network of one. Undefined for what is neither. */
function readPrefix(text: string): IpNetwork | undefined {
  try {
    return parseNetwork(text.includes('/') ? text : `${text}/${text.includes(':') ? 128 : 32}`)
  } catch {
    return undefined
  }
}

function readEthertype(given: string | null | undefined): 'IPv4' | 'IPv6' {
  switch ((given || 'IPv4').toLowerCase()) {
    case 'ipv4':
      return 'IPv4'
    case 'ipv6':
      return 'IPv6'
  }
  throw networkError('InvalidInput', 'ethertype is IPv4 or IPv6.')
}

function readProtocol(given: string | number | null | undefined): string | null {
  const text = String(given ?? '').toLowerCase()
  if (text === '' || text === 'any') return null
  if (protocolNumber(text) !== undefined) return text
  throw networkError(
    'SecurityGroupRuleInvalidProtocol',
    'protocol is a name such as tcp, udp or icmp, a number from 0 to 255, or null for all.',
  )
}

function checkPorts({ protocol, portRangeMin: min, portRangeMax: max, ethertype }: RulePlan): void {
  if (protocol === null) {
    if (min === null && max === null) return
    throw networkError('SecurityGroupProtocolRequiredWithPorts', 'A port range needs a protocol.')
  }
  const number = protocolNumber(protocol) ?? -1
  if (ethertype === 'IPv4' && ONLY_IPV6.includes(number)) {
    throw networkError('SecurityGroupEthertypeConflictWithProtocol', `Protocol ${protocol} is of IPv6, not of IPv4.`)
  }
  if (min === null && max === null) return
  if (number === ICMP || number === ICMPV6) {
    checkIcmp(min, max)
    return
  }
  if (!WITH_PORTS.includes(number)) {
    throw networkError(
      'SecurityGroupInvalidProtocolForPort',
      `Protocol ${protocol} has no ports; only TCP, UDP, UDP-Lite, SCTP and DCCP have.`,
    )
  }
  if (min === 0 || max === 0) {
    throw networkError('SecurityGroupInvalidPortValue', 'Ports go from 1 to 65535.')
  }
  if (min === null || max === null || min > max) {
    throw networkError(
      'SecurityGroupInvalidPortRange',
      'port_range_min must be given, and at most port_range_max, which must be given too.',
    )
  }
}

function checkIcmp(type: number | null, code: number | null): void {
  if (type === null) {
    throw networkError(
      'SecurityGroupMissingIcmpType',
      'An ICMP code (port_range_max) needs an ICMP type (port_range_min).',
    )
  }
  if (type > 255 || (code ?? 0) > 255) {
    throw networkError(
      'SecurityGroupInvalidIcmpValue',
      'ICMP type (port_range_min) and code (port_range_max) go from 0 to 255.',
    )
  }
}

function checkRemote({ remoteIpPrefix, remoteGroupId, ethertype }: RulePlan): void {
  if (remoteIpPrefix === null) return
  if (remoteGroupId !== null) {
    throw networkError(
      'SecurityGroupRemoteGroupAndRemoteIpPrefix',
      'Only one of remote_ip_prefix and remote_group_id may be given.',
    )
  }
  const network = readPrefix(remoteIpPrefix)
  if (!network) {
    throw networkError('InvalidInput', 'remote_ip_prefix is an address or a block such as 10.0.0.0/24 or fd00::/64.')
  }
  if (ethertype !== `IPv${network.version}`) {
    throw networkError(
      'SecurityGroupRuleParameterConflict',
      `ethertype ${ethertype} does not go with remote_ip_prefix ${remoteIpPrefix}.`,
    )
  }
}
