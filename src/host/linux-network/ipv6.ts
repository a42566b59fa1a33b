/** IPv6 values as numbers, for the same reason as ipv4.ts: no text of a user reaches a rule or a command line. */
import { isIPv6 } from 'node:net'
import { formatAddress, interfaceId, parseAddress } from '../../lib/ip.ts'

/** A network: `address` has no bits set beyond `bits`. */
export interface Prefix6 {
  address: bigint
  /** 0 to 128. */
  bits: number
}

/** @throws Error when it is not an IPv6 address; one with a zone is none. */
export function parseIpv6(text: string): bigint {
  if (!isIPv6(text) || text.includes('%')) throw new Error(`Not an IPv6 address: ${JSON.stringify(text)}`)
  return parseAddress(text).value
}

/** The short form that the kernel's tools print too (RFC 5952). */
export const formatIpv6 = (address: bigint): string => formatAddress({ version: 6, value: address })

/** 32 hexadecimal digits. */
export const hex128 = (address: bigint): string => address.toString(16).padStart(32, '0')

const maskOf6 = (bits: number): bigint => ((1n << BigInt(bits)) - 1n) << BigInt(128 - bits)

/**
 * Reads `fd00::/64`, or an address alone as /128; host bits are cleared.
 * @throws Error when it is neither.
 */
export function parsePrefix6(text: string): Prefix6 {
  const [address = '', length = '128', ...rest] = text.split('/')
  if (rest.length > 0 || !/^\d{1,3}$/.test(length) || Number(length) > 128) {
    throw new Error(`Not an IPv6 prefix: ${JSON.stringify(text)}`)
  }
  const bits = Number(length)
  return { address: parseIpv6(address) & maskOf6(bits), bits }
}

export const formatPrefix6 = ({ address, bits }: Prefix6): string =>
  bits === 128 ? formatIpv6(address) : `${formatIpv6(address)}/${bits}`

/** The same addresses in as few prefixes, sorted: nft refuses a set whose members overlap. */
export function compactPrefixes6(prefixes: readonly Prefix6[]): Prefix6[] {
  const kept: Prefix6[] = []
  const sorted = prefixes.toSorted((a, b) =>
    a.address === b.address ? a.bits - b.bits : a.address < b.address ? -1 : 1,
  )
  for (const prefix of sorted) {
    const last = kept.at(-1)
    if (!last || last.bits > prefix.bits || (prefix.address & maskOf6(last.bits)) !== last.address) kept.push(prefix)
  }
  return kept
}

/** The link-local address that a card of this MAC takes. */
export const linkLocalOf = (mac: string): bigint => (0xfe80n << 112n) + interfaceId(mac)
