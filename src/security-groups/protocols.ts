/** Protocols as rules name them. Source: IANA's list, and the names Neutron takes. */
const NUMBERS: Readonly<Record<string, number>> = {
  ah: 51,
  dccp: 33,
  egp: 8,
  esp: 50,
  gre: 47,
  hopopt: 0,
  icmp: 1,
  icmpv6: 58,
  igmp: 2,
  ipip: 4,
  'ipv6-encap': 41,
  'ipv6-frag': 44,
  'ipv6-icmp': 58,
  'ipv6-nonxt': 59,
  'ipv6-opts': 60,
  'ipv6-route': 43,
  ospf: 89,
  pgm: 113,
  rsvp: 46,
  sctp: 132,
  tcp: 6,
  udp: 17,
  udplite: 136,
  vrrp: 112,
}
export const ICMP = 1
export const ICMPV6 = 58
/** Those whose header begins with a source and a destination port: DCCP, SCTP, TCP, UDP, UDP-Lite. */
export const WITH_PORTS: readonly number[] = [33, 132, 6, 17, 136]
/** Those that only IPv6 has. */
export const ONLY_IPV6: readonly number[] = [41, 43, 44, 58, 59, 60]

/** The number of a protocol's name or number; undefined for what is neither. */
export function protocolNumber(text: string): number | undefined {
  if (/^\d{1,3}$/.test(text)) return Number(text) <= 255 ? Number(text) : undefined
  return Object.hasOwn(NUMBERS, text) ? NUMBERS[text] : undefined
}

/** All ways to write a protocol: its number and its names. */
export function spellings(number: number): string[] {
  const names = Object.keys(NUMBERS).filter((name) => NUMBERS[name] === number)
  return [String(number), ...names]
}
