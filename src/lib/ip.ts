/** IP addresses of both versions as numbers, for counting through subnets. Texts are read and written by ipaddr.js. */
import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'

export type IpVersion = 4 | 6

export interface IpAddress {
  version: IpVersion
  value: bigint
}

/** All addresses with the same first bits. */
export interface IpNetwork {
  version: IpVersion
  first: bigint
  last: bigint
  /** How many bits are the same: 0 to 32, or to 128. */
  prefix: number
}

const BITS = { 4: 32, 6: 128 } as const

/** @throws RangeError unless it is an address in its usual form; one with a zone is none. */
export function parseAddress(text: string): IpAddress {
  // The library alone would read `10.1` and `0x0a000001` too.
  const version = isIP(text)
  if ((version !== 4 && version !== 6) || text.includes('%')) throw new RangeError(`'${text}' is not an IP address.`)
  const bytes = ipaddr.parse(text).toByteArray()
  return { version, value: bytes.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n) }
}

/** The one form in which an address is stored and compared: for IPv6 that of RFC 5952. */
export function formatAddress({ version, value }: IpAddress): string {
  const hex = value.toString(16).padStart(BITS[version] / 4, '0')
  return ipaddr.fromByteArray([...Buffer.from(hex, 'hex')]).toString()
}

/**
 * Reads `10.0.0.0/24`; bits of a host are cleared.
 * @throws RangeError when it is not of this form.
 */
export function parseNetwork(text: string): IpNetwork {
  const [address = '', length = '', ...rest] = text.split('/')
  const { version, value } = parseAddress(address)
  const prefix = Number(length)
  if (rest.length > 0 || !/^(0|[1-9]\d{0,2})$/.test(length) || prefix > BITS[version]) {
    throw new RangeError(`'${text}' is not an IP subnet.`)
  }
  const size = 1n << BigInt(BITS[version] - prefix)
  const first = (value / size) * size
  return { version, first, last: first + size - 1n, prefix }
}

export const formatNetwork = ({ version, first, prefix }: IpNetwork): string =>
  `${formatAddress({ version, value: first })}/${prefix}`

export const contains = (network: IpNetwork, { version, value }: IpAddress): boolean =>
  network.version === version && network.first <= value && value <= network.last

export const overlaps = (one: IpNetwork, other: IpNetwork): boolean =>
  one.version === other.version && one.first <= other.last && other.first <= one.last

/**
 * The addresses a card may have: in IPv4 all but the subnet's own and its broadcast address, in IPv6 all but the one of
 * its routers.
 */
export const hostRange = ({ version, first, last }: IpNetwork): { first: bigint; last: bigint } => ({
  first: first + 1n,
  last: version === 4 ? last - 1n : last,
})

/** The lower 64 bits of an address that a card makes itself of its MAC (RFC 4291, modified EUI-64). */
export function interfaceId(macAddress: string): bigint {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = macAddress.split(':').map((part) => Number.parseInt(part, 16))
  return [a ^ 2, b, c, 0xff, 0xfe, d, e, f].reduce((sum, byte) => sum * 256n + BigInt(byte), 0n)
}

/** The address that a card makes itself of what routers advertise: the subnet's bits and its MAC. */
export const autoAddress = ({ first }: IpNetwork, macAddress: string): string =>
  formatAddress({ version: 6, value: first + interfaceId(macAddress) })
