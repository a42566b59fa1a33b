/** Blocks of addresses of either version of IP, as numbers: what two texts have in common does not show in the texts. */
import { isIPv4, isIPv6 } from 'node:net'

/** `address/bits`: all addresses with the same first bits; the others are zero. */
export interface Cidr {
  version: 4 | 6
  /** The first address. */
  first: bigint
  last: bigint
  /** 0 to 32 or 128. */
  bits: number
}

/**
 * Reads `10.0.0.0/24`, `fd00::/64`, or an address alone, which is a block of one. Bits beyond the prefix are cleared.
 * @returns undefined when it is nothing of this.
 */
export function readCidr(text: string): Cidr | undefined {
  const [, address = '', length] = /^([0-9A-Fa-f.:]{2,45})(?:\/(\d{1,3}))?$/.exec(text) ?? []
  const version = isIPv4(address) ? 4 : isIPv6(address) ? 6 : undefined
  if (version === undefined) return undefined
  const width = version === 4 ? 32 : 128
  const bits = length === undefined ? width : Number(length)
  if (bits > width) return undefined
  const size = 1n << BigInt(width - bits)
  const value = version === 4 ? readIpv4(address) : readIpv6(address)
  const first = value - (value % size)
  return { version, first, last: first + size - 1n, bits }
}

/** In the short form of its version: `10.0.0.0/24`, `fd00::/64`. */
export const formatCidr = ({ version, first, bits }: Cidr): string => `${formatAddress(version, first)}/${bits}`

/** Whether all of `inner` is in `outer`. */
export const holds = (outer: Cidr, inner: Cidr): boolean =>
  outer.version === inner.version && outer.first <= inner.first && inner.last <= outer.last

/** Whether the two have an address in common. */
export const overlap = (a: Cidr, b: Cidr): boolean => holds(a, b) || holds(b, a)

function formatAddress(version: 4 | 6, address: bigint): string {
  if (version === 4) return [24n, 16n, 8n, 0n].map((shift) => (address >> shift) & 255n).join('.')
  const groups = (address.toString(16).padStart(32, '0').match(/..../g) ?? []).join(':')
  return new URL(`http://[${groups}]/`).hostname.slice(1, -1)
}

const readIpv4 = (text: string): bigint => text.split('.').reduce((sum, part) => sum * 256n + BigInt(part), 0n)

function readIpv6(text: string): bigint {
  const [head = '', tail] = new URL(`http://[${text}]/`).hostname.slice(1, -1).split('::')
  const [front, back] = [head, tail ?? ''].map((part) => part.split(':').filter(Boolean)) as [string[], string[]]
  const groups = [...front, ...Array.from({ length: 8 - front.length - back.length }, () => '0'), ...back]
  return groups.reduce((sum, group) => sum * 65_536n + BigInt(`0x${group}`), 0n)
}
