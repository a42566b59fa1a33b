/**
 * The tracked connections of a router that its plan no longer allows. The rules stop them already, each packet of them;
 * but as long as packets come the kernel remembers how they were translated, and a sender that never pauses (a tunnel, a
 * heartbeat, a ping) would be stopped for good instead of being translated anew. So they are forgotten.
 */
import { readFileSync } from 'node:fs'
import type { RouterDesign } from './router-design.ts'
import { runInNamespace } from './run-tool.ts'

interface Tuple {
  src: string
  dst: string
  sport: string
  dport: string
}

export interface Connection {
  protocol: number
  /** As its first packet was, and as an answer to it is. */
  original: Tuple
  reply: Tuple
  /** ICMP alone: type, code and number of the first packet. */
  icmp?: { type: string; code: string; id: string }
}

/** Reads `/proc/net/nf_conntrack`, IPv4 alone: the rest is never translated. */
export function readConnections(text: string): Connection[] {
  return text.split('\n').flatMap((line) => {
    const [, protocol] = /^ipv4 +2 +\S+ +(\d+) /.exec(line) ?? []
    if (protocol === undefined) return []
    const all = [...line.matchAll(/(src|dst|sport|dport|type|code|id)=(\S+)/g)]
    const second = all.findLastIndex(([, key]) => key === 'src')
    const [first, last] = [all.slice(0, second), all.slice(second)].map(
      (pairs) => new Map(pairs.map(([, key = '', value = '']) => [key, value])),
    )
    if (!first || !last) return []
    const tuple = (values: Map<string, string>): Tuple => {
      const value = (key: string) => values.get(key) ?? ''
      return { src: value('src'), dst: value('dst'), sport: value('sport'), dport: value('dport') }
    }
    const [type, code, id] = ['type', 'code', 'id'].map((key) => first.get(key))
    const icmp = type !== undefined && code !== undefined && id !== undefined ? { icmp: { type, code, id } } : {}
    return [{ protocol: Number(protocol), original: tuple(first), reply: tuple(last), ...icmp }]
  })
}

/** Whether a connection was translated as the design does not say, or was not where it does. */
export function isStale({ protocol, original, reply }: Connection, design: RouterDesign): boolean {
  const { gateway, floating, forwardings } = design
  const isLedIn = original.dst !== reply.src || original.dport !== reply.sport
  const isHidden = original.src !== reply.dst
  const leadsIn =
    floating.some(({ outside, inside }) => outside === original.dst && inside === reply.src) ||
    forwardings.some(
      (one) =>
        one.outside === original.dst &&
        one.inside === reply.src &&
        PROTOCOLS[one.protocol] === protocol &&
        String(one.outsidePort) === original.dport &&
        String(one.insidePort) === reply.sport,
    )
  if (isLedIn ? !leadsIn : floating.some(({ outside }) => outside === original.dst)) return true
  if (!isHidden) return false
  const byOwn = floating.some(({ inside, outside }) => inside === original.src && outside === reply.dst)
  const byGateway = gateway?.address === reply.dst && (gateway.hasSnat || isLedIn)
  return !byOwn && !byGateway
}

const PROTOCOLS = { tcp: 6, udp: 17 }

/** Forgets the connections of a router's namespace that its design does not allow; answers how many. */
export async function forgetStale(namespace: string, design: RouterDesign): Promise<number> {
  const text = await runInNamespace(namespace, ['cat', '/proc/net/nf_conntrack'])
  const stale = readConnections(text).filter((connection) => isStale(connection, design))
  if (stale.length === 0) return 0
  const lines = stale.map(({ protocol, original: { src, dst, sport, dport }, icmp }) => {
    const ends = icmp ? [icmp.id, icmp.type, icmp.code] : [sport || '0', dport || '0']
    return `${[protocol, src, dst, ...ends].join(' ')}\n`
  })
  await runInNamespace(namespace, ['perl', '-e', FORGET], lines.join(''))
  return stale.length
}

/** Only the kernel's own socket can forget one connection; perl, which every Debian has, can open it. */
const FORGET = readFileSync(new URL('./router-forget.pl', import.meta.url), 'utf8')
