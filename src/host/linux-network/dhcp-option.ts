/**
 * Options that a user names for a port's DHCP answers. They are written into a file that dnsmasq reads, where a new
 * line is another option for other guests, so only values pass that cannot end theirs. Pure.
 */
import { isIPv4, isIPv6 } from 'node:net'
import type { PortPlan } from '../host-driver.ts'
import { formatIpv4, parseIpv4 } from './ipv4.ts'
import { formatIpv6, parseIpv6 } from './ipv6.ts'

type DhcpOption = PortPlan['dhcpOptions'][number]

/**
 * dnsmasq's name of an option, or its number.
 * @throws Error when it is neither.
 */
export function safeOptionName(name: string): string {
  const isNumber = /^\d{1,5}$/.test(name) && Number(name) > 0 && Number(name) <= 65_535
  if (!isNumber && !/^[a-z][a-z0-9-]{0,39}$/.test(name)) {
    throw new Error(`Not the name or number of a DHCP option: ${JSON.stringify(name)}`)
  }
  return name
}

/**
 * The values of an option as dnsmasq takes them: one text, or a list of addresses, prefixes and numbers with commas
 * between. An empty text is no value, which takes an option away.
 * @throws Error when a text has a line break, a quote, or anything else that means something to dnsmasq.
 */
export function safeOptionValues({ name, value, ipVersion }: DhcpOption): string[] {
  if (value === '') return []
  const typed = value.split(',').map((item) => typedValue(item.trim(), ipVersion))
  if (typed.every((item) => item !== undefined)) return typed
  if (/^[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?$/.test(value) && !/[,"'\\#]/.test(value)) return [value]
  throw new Error(`DHCP option ${JSON.stringify(name)} cannot carry ${JSON.stringify(value.slice(0, 80))}`)
}

/** An address, a prefix or a number, written anew; undefined when the text is none. */
function typedValue(text: string, ipVersion: 4 | 6): string | undefined {
  if (/^\d{1,10}$/.test(text)) return text
  const [address = '', length] = text.split('/')
  if (length !== undefined && !(/^\d{1,2}$/.test(length) && Number(length) <= 32)) return undefined
  if (ipVersion === 4 && isIPv4(address)) {
    return formatIpv4(parseIpv4(address)) + (length === undefined ? '' : `/${length}`)
  }
  const inside = /^\[(.+)\]$/.exec(text)?.[1] ?? text
  return ipVersion === 6 && isIPv6(inside) && !inside.includes('%') ? `[${formatIpv6(parseIpv6(inside))}]` : undefined
}
