/** Security group rules as nft matches. Pure; what cannot be expressed allows nothing. */
import type { RulePlan } from '../host-driver.ts'
import { compactPrefixes, formatPrefix, type Prefix, parsePrefix } from './ipv4.ts'

const NAMED_PROTOCOLS: Record<string, number> = { icmp: 1, tcp: 6, udp: 17 }
const ICMP = 1
/** TCP, UDP, DCCP, SCTP, UDP-Lite: their ports are the first two words of the header. */
const PROTOCOLS_WITH_PORTS = [6, 17, 33, 132, 136]

/**
 * One nft match for each kind of traffic the rules of one direction allow, in a fixed order; an empty text matches
 * everything. Rules that differ only in the remote prefix share one match, so that a group of a thousand members
 * costs one look-up. IPv6 rules are left out: no IPv6 passes.
 */
export function ruleMatches(rules: readonly RulePlan[], direction: RulePlan['direction']): string[] {
  const remotes = new Map<string, Prefix[]>()
  for (const rule of rules) {
    if (rule.direction !== direction || rule.ethertype !== 'IPv4') continue
    const match = trafficMatch(rule)
    if (match === undefined) continue
    const sharing = remotes.get(match) ?? []
    sharing.push(parsePrefix(rule.remoteIpPrefix ?? '0.0.0.0/0'))
    remotes.set(match, sharing)
  }
  const field = direction === 'ingress' ? 'ip saddr' : 'ip daddr'
  return [...remotes]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([match, prefixes]) => [remoteMatch(field, prefixes), match].filter((part) => part !== '').join(' '))
}

function remoteMatch(field: string, prefixes: Prefix[]): string {
  const compact = compactPrefixes(prefixes)
  return compact[0]?.bits === 0 ? '' : `${field} { ${compact.map(formatPrefix).join(', ')} }`
}

/** Protocol and ports of a rule; undefined when it can match no packet. */
function trafficMatch(rule: RulePlan): string | undefined {
  const { portRangeMin: min, portRangeMax: max } = rule
  if (rule.protocol === null) return min === null && max === null ? '' : undefined
  const protocol = NAMED_PROTOCOLS[rule.protocol] ?? parseProtocol(rule.protocol)
  const match = `meta l4proto ${protocol}`
  if (min === null && max === null) return match
  if (protocol === ICMP) return min === null ? undefined : `${match} ${icmpMatch(min, max)}`
  if (!PROTOCOLS_WITH_PORTS.includes(protocol)) return undefined
  const first = bounded(min ?? max ?? 0, 65_535)
  const last = bounded(max ?? first, 65_535)
  if (first > last) return undefined
  return `${match} th dport ${first === last ? first : `${first}-${last}`}`
}

const icmpMatch = (type: number, code: number | null): string =>
  code === null ? `icmp type ${bounded(type, 255)}` : `icmp type ${bounded(type, 255)} icmp code ${bounded(code, 255)}`

function parseProtocol(text: string): number {
  if (!/^\d{1,3}$/.test(text)) throw new Error(`Not an IP protocol: ${JSON.stringify(text)}`)
  return bounded(Number(text), 255)
}

function bounded(value: number, most: number): number {
  if (!Number.isInteger(value) || value < 0 || value > most) throw new Error(`Not between 0 and ${most}: ${value}`)
  return value
}
