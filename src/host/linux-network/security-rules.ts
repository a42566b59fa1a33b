/** Security group rules as nft matches. Pure; what can match no packet allows nothing. */
import { PROTOCOL_NUMBERS } from '../../lib/ip-protocols.ts'
import type { RulePlan } from '../host-driver.ts'
import { type IpVersion, isAnyAddress, NFT_WORDS, pickPrefixes, setOf, versionOf } from './ip-family.ts'
import { remoteSetName } from './names.ts'

const ICMP: Readonly<Record<IpVersion, number>> = { 4: 1, 6: 58 }
/** TCP, UDP, DCCP, SCTP, UDP-Lite: their ports are the first two words of the header. */
const PROTOCOLS_WITH_PORTS = [6, 17, 33, 132, 136]

interface Traffic {
  version: IpVersion
  /** Number, null for all. */
  protocol: number | null
  /** First and last port, null for all. */
  ports: readonly [number, number] | null
  /** An nft match on type and code; empty for all. */
  icmp: string
}

/**
 * One nft match for each kind of traffic the rules of one direction allow, in a fixed order. Rules that differ only in
 * the remote prefix share one match, and then those that differ only in ports: a group of a thousand prefixes, or
 * ports, costs one look-up. A remote group is matched by its named set.
 */
export function ruleMatches(rules: readonly RulePlan[], direction: RulePlan['direction']): string[] {
  const field = direction === 'ingress' ? 'saddr' : 'daddr'
  const byTraffic = new Map<string, { traffic: Traffic; prefixes: string[]; sets: Set<string> }>()
  for (const rule of rules) {
    const traffic = rule.direction === direction ? readTraffic(rule) : undefined
    if (!traffic) continue
    const key = JSON.stringify(traffic)
    const sharing = byTraffic.get(key) ?? { traffic, prefixes: [], sets: new Set<string>() }
    byTraffic.set(key, sharing)
    if (rule.remoteGroupId !== null) sharing.sets.add(`@${remoteSetName(rule.remoteGroupId, traffic.version)}`)
    else sharing.prefixes.push(rule.remoteIpPrefix ?? (traffic.version === 4 ? '0.0.0.0/0' : '::/0'))
  }
  const byRemote = new Map<string, { head: string; ports: (readonly [number, number])[] | null }>()
  for (const { traffic, prefixes, sets } of byTraffic.values()) {
    for (const remote of remoteMatches(traffic.version, field, prefixes, [...sets].sort())) {
      const head = `${remote}${traffic.protocol === null ? '' : ` meta l4proto ${traffic.protocol}`}${traffic.icmp}`
      const key = `${head}${traffic.ports === null ? '' : ' ports'}`
      const sharing = byRemote.get(key)
      if (sharing?.ports && traffic.ports) sharing.ports.push(traffic.ports)
      else byRemote.set(key, { head, ports: traffic.ports && [traffic.ports] })
    }
  }
  return [...byRemote.values()].map(({ head, ports }) => (ports ? `${head} th dport ${portsText(ports)}` : head)).sort()
}

/** One match for all prefixes, and one for each set; each says which version of IP it is about. */
function remoteMatches(version: IpVersion, field: string, prefixes: string[], sets: string[]): string[] {
  const { match, protocol } = NFT_WORDS[version]
  if (prefixes.some((prefix) => versionOf(prefix) !== version)) {
    throw new Error(`A rule for IPv${version} names other addresses: ${JSON.stringify(prefixes)}`)
  }
  const compact = pickPrefixes(version, prefixes)
  if (compact.some(isAnyAddress)) return [`meta nfproto ${protocol}`]
  return [...(compact.length > 0 ? [setOf(compact)] : []), ...sets].map((remote) => `${match} ${field} ${remote}`)
}

function portsText(ranges: (readonly [number, number])[]): string {
  const merged: [number, number][] = []
  for (const [first, last] of ranges.toSorted((a, b) => a[0] - b[0])) {
    const before = merged.at(-1)
    if (before && first <= before[1] + 1) before[1] = Math.max(before[1], last)
    else merged.push([first, last])
  }
  const texts = merged.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`))
  return texts.length === 1 ? (texts[0] ?? '') : setOf(texts)
}

/** Undefined when the rule can match no packet. */
function readTraffic(rule: RulePlan): Traffic | undefined {
  const { portRangeMin: min, portRangeMax: max } = rule
  const version: IpVersion = rule.ethertype === 'IPv6' ? 6 : 4
  const all = { version, protocol: null, ports: null, icmp: '' }
  if (rule.protocol === null || rule.protocol === 'any') return min === null && max === null ? all : undefined
  const protocol = readProtocol(rule.protocol, version)
  if (min === null && max === null) return { ...all, protocol }
  if (protocol === ICMP[version])
    return min === null ? undefined : { ...all, protocol, icmp: icmpMatch(version, min, max) }
  if (!PROTOCOLS_WITH_PORTS.includes(protocol)) return undefined
  const first = bounded(min ?? max ?? 0, 65_535)
  const last = bounded(max ?? first, 65_535)
  return first > last ? undefined : { ...all, protocol, ports: [first, last] }
}

function icmpMatch(version: IpVersion, type: number, code: number | null): string {
  const name = version === 4 ? 'icmp' : 'icmpv6'
  return ` ${name} type ${bounded(type, 255)}${code === null ? '' : ` ${name} code ${bounded(code, 255)}`}`
}

/** `icmp` means that of the rule's own version of IP. */
function readProtocol(text: string, version: IpVersion): number {
  if (text === 'icmp') return ICMP[version]
  const known = Object.hasOwn(PROTOCOL_NUMBERS, text) ? PROTOCOL_NUMBERS[text] : undefined
  if (known !== undefined) return known
  if (!/^\d{1,3}$/.test(text)) throw new Error(`Not an IP protocol: ${JSON.stringify(text)}`)
  return bounded(Number(text), 255)
}

function bounded(value: number, most: number): number {
  if (!Number.isInteger(value) || value < 0 || value > most) throw new Error(`Not between 0 and ${most}: ${value}`)
  return value
}
