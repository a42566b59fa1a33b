/** IPv4 addresses as numbers, for counting through subnets. */

/** @throws RangeError unless it is four numbers from 0 to 255. */
export function parseIpv4(text: string): number {
  const parts = text.split('.')
  if (parts.length !== 4 || parts.some((part) => !/^\d{1,3}$/.test(part) || Number(part) > 255)) {
    throw new RangeError(`'${text}' is not an IPv4 address.`)
  }
  return parts.reduce((sum, part) => sum * 256 + Number(part), 0)
}

export const formatIpv4 = (address: number): string =>
  [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join('.')

/**
 * First and last address and the prefix length of `a.b.c.d/n`.
 * @throws RangeError when it is not of this form.
 */
export function parseCidr4(cidr: string): { first: number; last: number; prefix: number } {
  const [address = '', length = ''] = cidr.split('/')
  const prefix = Number(length)
  if (!/^\d{1,2}$/.test(length) || prefix > 32) throw new RangeError(`'${cidr}' is not an IPv4 subnet.`)
  const size = 2 ** (32 - prefix)
  const first = Math.floor(parseIpv4(address) / size) * size
  return { first, last: first + size - 1, prefix }
}
