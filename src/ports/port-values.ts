/** What the body of a port says, as columns. Pure but for the errors it throws. */
import type { Row } from '../db/schema.ts'
import { findDhcpOption, fitsDhcpOption } from '../lib/dhcp-options.ts'
import { formatAddress, formatNetwork, parseAddress, parseNetwork } from '../lib/ip.ts'
import type { Values } from '../network-api/attributes.ts'
import { networkError } from '../network-api/network-errors.ts'
import type { FixedIpWish } from './port-addresses.ts'
import type { PORT_CHANGES, PORT_FIRST } from './port-attributes.ts'

export type PortWish = Values<typeof PORT_FIRST & typeof PORT_CHANGES>
export type PortChange = Values<typeof PORT_CHANGES>

/** As the API shows it, and as it is stored. */
export interface AddressPair {
  ip_address: string
  mac_address: string
}

/** As the API shows it, and as it is stored. */
export interface ExtraDhcpOption {
  opt_name: string
  opt_value: string
  ip_version: 4 | 6
}

/** The columns that need no question to the database. */
export function readPlainColumns(change: PortChange) {
  const antiSpoofing = change['binding:disable_anti_spoofing']
  return {
    ...(change.name === undefined ? {} : { name: change.name }),
    ...(change.description === undefined ? {} : { description: change.description }),
    ...(change.admin_state_up === undefined ? {} : { isUp: flagOf(change.admin_state_up) }),
    ...(change.port_security_enabled === undefined ? {} : { hasPortSecurity: flagOf(change.port_security_enabled) }),
    ...(antiSpoofing === undefined ? {} : { hasAntiSpoofing: flagOf(!antiSpoofing) }),
    ...(change['binding:host_id'] === undefined ? {} : { bindingHost: change['binding:host_id'] }),
    ...(change['binding:profile'] === undefined ? {} : { bindingProfile: readProfile(change['binding:profile']) }),
    ...(change['binding:vnic_type'] === undefined ? {} : { vnicType: change['binding:vnic_type'] }),
    ...(change.dns_name === undefined ? {} : { dnsName: change.dns_name }),
  }
}

const flagOf = (value: boolean): 0 | 1 => (value ? 1 : 0)

/** Bytes; a profile is kept as it is sent. */
const PROFILE_BYTES = 4_095

function readProfile(profile: Record<string, unknown> | null): string {
  const text = JSON.stringify(profile ?? {})
  if (Buffer.byteLength(text) <= PROFILE_BYTES) return text
  throw networkError('InvalidInput', `The binding:profile is larger than ${PROFILE_BYTES} bytes.`)
}

/**
 * The wished addresses, each once, in canonical form.
 * @throws ApiError InvalidInput for what is no address, or named twice.
 */
export function readFixedIps(fixedIps: PortWish['fixed_ips']): FixedIpWish[] | undefined {
  const wishes = fixedIps?.map(({ subnet_id: subnetId, ip_address: ipAddress }) => ({
    subnetId,
    ipAddress: ipAddress === undefined ? undefined : readAddress(ipAddress),
  }))
  const named = wishes?.flatMap(({ ipAddress }) => ipAddress ?? []) ?? []
  if (new Set(named).size < named.length) throw networkError('InvalidInput', 'The same address is named twice.')
  return wishes
}

/**
 * What a port may send from besides its own; a pair without a MAC has the port's.
 * @throws ApiError InvalidInput for what is neither address nor prefix, or named twice.
 */
export function readPairs(
  pairs: readonly { ip_address: string; mac_address?: string | null }[] | null,
  macAddress: string,
): AddressPair[] {
  const read = (pairs ?? []).map((pair) => ({
    ip_address: readPrefix(pair.ip_address),
    mac_address: (pair.mac_address ?? macAddress).toLowerCase(),
  }))
  if (new Set(read.map((pair) => `${pair.ip_address} ${pair.mac_address}`)).size < read.length) {
    throw networkError('InvalidInput', 'The same allowed address pair is named twice.')
  }
  return read
}

/**
 * The options of a port after a change: named ones take the place of those of the same name, and go without a value.
 * @throws ApiError InvalidInput for an option that is none, or whose value does not fit it.
 */
export function readDhcpOptions(
  changes: NonNullable<PortWish['extra_dhcp_opts']>,
  before: readonly ExtraDhcpOption[],
): ExtraDhcpOption[] {
  const options = new Map(before.map((option) => [`${option.ip_version} ${option.opt_name}`, option]))
  for (const { opt_name, opt_value, ip_version: version = 4 } of changes) {
    const ip_version = Number(version) === 6 ? 6 : 4
    const option = findDhcpOption(opt_name, ip_version)
    if (!option) throw networkError('InvalidInput', `There is no DHCP option '${opt_name}' for callers to set.`)
    const key = `${ip_version} ${opt_name}`
    if (opt_value === null) options.delete(key)
    else if (fitsDhcpOption(option, opt_value, ip_version)) options.set(key, { opt_name, opt_value, ip_version })
    else throw networkError('InvalidInput', `The DHCP option ${opt_name} cannot have the value '${opt_value}'.`)
  }
  return [...options.values()]
}

export const pairsOf = (port: Pick<Row<'ports'>, 'allowedAddressPairs'>): AddressPair[] =>
  JSON.parse(port.allowedAddressPairs)

export const dhcpOptionsOf = (port: Pick<Row<'ports'>, 'extraDhcpOptions'>): ExtraDhcpOption[] =>
  JSON.parse(port.extraDhcpOptions)

function readAddress(text: string): string {
  try {
    return formatAddress(parseAddress(text))
  } catch (cause) {
    throw networkError('InvalidInput', `Address '${text}' is not a valid IP address.`, { cause })
  }
}

function readPrefix(text: string): string {
  try {
    return text.includes('/') ? formatNetwork(parseNetwork(text)) : formatAddress(parseAddress(text))
  } catch (cause) {
    throw networkError('InvalidInput', `'${text}' is neither an IP address nor a subnet.`, { cause })
  }
}
