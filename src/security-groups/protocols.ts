/** Protocols as rules name them. */
import { PROTOCOL_NUMBERS } from '../lib/ip-protocols.ts'

export const ICMP = 1
export const ICMPV6 = 58
/** Those whose header begins with a source and a destination port: DCCP, SCTP, TCP, UDP, UDP-Lite. */
export const WITH_PORTS: readonly number[] = [33, 132, 6, 17, 136]
/** Those that only IPv6 has. */
export const ONLY_IPV6: readonly number[] = [41, 43, 44, 58, 59, 60]

/** The number of a protocol's name or number; undefined for what is neither. */
export function protocolNumber(text: string): number | undefined {
  if (/^\d{1,3}$/.test(text)) return Number(text) <= 255 ? Number(text) : undefined
  return Object.hasOwn(PROTOCOL_NUMBERS, text) ? PROTOCOL_NUMBERS[text] : undefined
}

/** All ways to write a protocol: its number and its names. */
export function spellings(number: number): string[] {
  const names = Object.keys(PROTOCOL_NUMBERS).filter((name) => PROTOCOL_NUMBERS[name] === number)
  return [String(number), ...names]
}
