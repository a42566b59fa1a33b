/**
 * IPv4 values as numbers. Everything that reaches a rule, a configuration file or a command line is parsed here and
 * written again from the number, so that no text of a user gets there.
 */
import { isIPv4 } from 'node:net'

/** A network: `address` has no bits set beyond `bits`. */
export interface Prefix {
  address: number
  /** 0 to 32. */
  bits: number
}

/** @throws Error when it is not a dotted quad. */
export function parseIpv4(text: string): number {
  if (!isIPv4(text)) throw new Error(`Not an IPv4 address: ${JSON.stringify(text)}`)
  return text.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)
}

export const formatIpv4 = (address: number): string =>
  [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff).join('.')

/** The netmask of a prefix length as a number. */
export const maskOf = (bits: number): number => (bits === 0 ? 0 : (0xffffffff << (32 - bits)) >>> 0)

/**
 * Reads `10.0.0.0/24`, or an address alone as /32; host bits are cleared.
 * @throws Error when it is neither.
 */
export function parsePrefix(text: string): Prefix {
  const [address = '', length = '32', ...rest] = text.split('/')
  if (rest.length > 0 || !/^\d{1,2}$/.test(length) || Number(length) > 32) {
    throw new Error(`Not an IPv4 prefix: ${JSON.stringify(text)}`)
  }
  const bits = Number(length)
  return { address: (parseIpv4(address) & maskOf(bits)) >>> 0, bits }
}

export const formatPrefix = (prefix: Prefix): string =>
  prefix.bits === 32 ? formatIpv4(prefix.address) : `${formatIpv4(prefix.address)}/${prefix.bits}`

export const contains = (outer: Prefix, inner: Prefix): boolean =>
  outer.bits <= inner.bits && (inner.address & maskOf(outer.bits)) >>> 0 === outer.address

/** The same addresses in as few prefixes, sorted: nft refuses a set whose members overlap. */
export function compactPrefixes(prefixes: readonly Prefix[]): Prefix[] {
  const kept: Prefix[] = []
  for (const prefix of prefixes.toSorted((a, b) => a.address - b.address || a.bits - b.bits)) {
    const last = kept.at(-1)
    if (!last || !contains(last, prefix)) kept.push(prefix)
  }
  return kept
}

/**
 * A unicast MAC address in lower case.
 * @throws Error when it is none.
 */
export function parseMac(text: string): string {
  const mac = text.toLowerCase()
  if (!/^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/.test(mac)) throw new Error(`Not a MAC address: ${JSON.stringify(text)}`)
  return mac
}
