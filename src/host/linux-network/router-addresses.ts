/**
 * IPv4 and IPv6 values of a router's plan, read as numbers and written again as the kernel's tools print them: so no
 * text of a user reaches a command, and what is wanted compares with what is there.
 */
import { isIP } from 'node:net'
import * as ip from '../../lib/ip.ts'

export type Family = ip.IpVersion

/** An address or a network; a network's `value` has no bits set beyond `bits`. */
export interface IpPrefix {
  family: Family
  value: bigint
  bits: number
}

const WIDTH: Record<Family, number> = { 4: 32, 6: 128 }

/** @throws Error when it is no address; one with a zone is none. */
export function parseAddress(text: string): IpPrefix {
  if (isIP(text) === 0 || text.includes('%')) throw new Error(`Not an IP address: ${JSON.stringify(text)}`)
  const { version, value } = ip.parseAddress(text)
  return { family: version, value, bits: WIDTH[version] }
}

/**
 * Reads `10.0.0.0/24` or `2001:db8::/64`; host bits are cleared. An address alone is all its bits.
 * @throws Error when it is neither.
 */
export function parseNetwork(text: string): IpPrefix {
  const [address = '', length, ...rest] = text.split('/')
  const { family, value } = parseAddress(address)
  const bits = length === undefined ? WIDTH[family] : Number(length)
  if (rest.length > 0 || !/^(\d{1,3})?$/.test(length ?? '') || length === '' || bits > WIDTH[family]) {
    throw new Error(`Not an IP network: ${JSON.stringify(text)}`)
  }
  return { family, value: value & mask(family, bits), bits }
}

export const isInside = (outer: IpPrefix, inner: IpPrefix): boolean =>
  outer.family === inner.family &&
  outer.bits <= inner.bits &&
  (inner.value & mask(outer.family, outer.bits)) === outer.value

/** As `ip` prints an address, without its length. */
export const formatAddress = ({ family, value }: IpPrefix): string => ip.formatAddress({ version: family, value })

/** As `ip route` prints a destination: `default`, an address without `/32`, or a network. */
export function formatDestination(network: IpPrefix): string {
  if (network.bits === 0) return 'default'
  return network.bits === WIDTH[network.family] ? formatAddress(network) : `${formatAddress(network)}/${network.bits}`
}

const mask = (family: Family, bits: number): bigint => {
  const width = BigInt(WIDTH[family])
  return ((1n << width) - 1n) ^ ((1n << (width - BigInt(bits))) - 1n)
}
