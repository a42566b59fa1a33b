/**
 * What a port's tap may send and is sent, as rules of the bridge table, and the marks that tell the inet table who sent
 * a packet and who receives it. Pure. Whose frames they are is decided here alone: everything after goes by the mark.
 */
import type { HeldPort } from './held-port.ts'
import { NFT_WORDS, pickPrefixes, setOf } from './ip-family.ts'
import { parseMac } from './ipv4.ts'
import { formatIpv6, hex128, linkLocalOf, parseIpv6, parsePrefix6 } from './ipv6.ts'
import { METADATA_ADDRESS } from './names.ts'

/** Where a packet's mark holds the number of the port it came from; the receiver's is in the 16 bits below. */
export const senderMark = (number: number): string => hex(number * 0x1_0000)
export const receiverMark = (number: number): string => hex(number)

const hex = (value: number): string => `0x${value.toString(16)}`

/**
 * How often a guest may connect to metadata, the burst for two boots of cloud-init: what is beyond it costs this machine
 * no more than a look. Each port has a chain of its own, and so a limit.
 */
const FEW_CONNECTIONS = `ip daddr ${METADATA_ADDRESS} tcp dport 80 tcp flags & (syn | ack) == syn limit rate over 25/second burst 250 packets drop`

/** Messages of routers. A guest that sends them would become the way of all others. */
export const ROUTER_MESSAGES = 'icmpv6 type { nd-router-advert, nd-redirect }'

/** What it may be sent: nothing unless it is up; else the receiver goes into the mark. */
export const toPortRules = ({ number, isUp }: HeldPort): string[] =>
  isUp ? [`meta mark set meta mark or ${receiverMark(number)}`] : ['drop']

/** What it may send. Frames other than IP and ARP never: a VLAN or PPPoE header would hide the packet from the groups. */
export function fromPortRules(port: HeldPort, speaksIpv6: boolean): string[] {
  if (!port.isUp) return ['drop']
  const mark = `meta mark set ${senderMark(port.number)}`
  return [
    mark,
    FEW_CONNECTIONS,
    ...(port.antiSpoofing ? ownFrames(port, speaksIpv6) : anyFrames(port, speaksIpv6)),
    'drop',
  ]
}

/** Without anti-spoofing any address may be used, but still not to read another guest's metadata. */
function anyFrames(port: HeldPort, speaksIpv6: boolean): string[] {
  return [...ownMetadata(port), `ether type { ip, arp${speaksIpv6 ? ', ip6' : ''} } accept`]
}

/** The metadata service believes the source address, so it must be the port's own and not one that is only allowed. */
function ownMetadata(port: HeldPort): string[] {
  const own = ownAddresses(port, 4)
  const others = own.length > 0 ? `ip saddr != ${setOf(own)} ` : ''
  return [`ether type ip ${others}ip daddr ${METADATA_ADDRESS} drop`]
}

function ownFrames(port: HeldPort, speaksIpv6: boolean): string[] {
  const mac = parseMac(port.macAddress)
  const own = ownAddresses(port, 4)
  const senders = [...addressesByMac(port)]
  // Where a DHCP request names the client's MAC: 28 bytes into the message, which follows 8 bytes of UDP. A request in
  // another guest's name could decline that guest's address.
  const ownDhcp = `@th,288,48 0x${mac.replaceAll(':', '')}`
  return [
    `ether saddr != ${setOf(senders.map(([sender]) => sender))} drop`,
    ...senders.map(([sender, addresses]) => {
      const known = setOf(pickPrefixes(4, ['0.0.0.0', ...addresses]))
      return `ether saddr ${sender} arp saddr ether ${sender} arp saddr ip ${known} accept`
    }),
    speaksIpv6 ? 'ether type != { ip, ip6 } drop' : 'ether type != ip drop',
    `ether saddr ${mac} ip saddr ${setOf(['0.0.0.0', ...own])} udp sport 68 udp dport 67 ${ownDhcp} accept`,
    'udp dport 67 drop',
    'udp sport 67 drop',
    ...(port.allowedAddresses.length > 0 ? ownMetadata(port) : []),
    ...senders.flatMap(([sender, addresses]) => sourceRule(4, sender, pickPrefixes(4, addresses))),
    ...(speaksIpv6 ? ownIpv6Frames(senders) : []),
  ]
}

/**
 * IPv6: neighbours are told of own addresses only, so none can take another's traffic or, while a card looks whether
 * its address is free, keep it from it. Of link-local addresses only the one made of the MAC is a card's own: with any
 * other it could pass for the router, whose advertisements name it by such an address.
 */
function ownIpv6Frames(senders: [string, string[]][]): string[] {
  const prefixes = senders.flatMap(([sender, addresses]) => ownIpv6(sender, addresses))
  const targets = setOf(pickPrefixes(6, prefixes).map(targetText))
  return [
    `${ROUTER_MESSAGES} drop`,
    'udp sport 547 drop',
    'udp dport 546 drop',
    `icmpv6 type nd-neighbor-advert @th,64,128 != ${targets} drop`,
    `ip6 saddr :: icmpv6 type nd-neighbor-solicit @th,64,128 ${targets} accept`,
    'ip6 saddr :: icmpv6 type { nd-router-solicit, mld-listener-report, mld-listener-done, mld2-listener-report } accept',
    ...senders.flatMap(([sender, addresses]) => sourceRule(6, sender, pickPrefixes(6, ownIpv6(sender, addresses)))),
  ]
}

const ownIpv6 = (mac: string, addresses: string[]): string[] => [
  formatIpv6(linkLocalOf(mac)),
  ...addresses.filter((address) => address.includes(':')),
]

/** A prefix as the number that the target of a neighbour message is compared with. */
function targetText(prefix: string): string {
  const { address, bits } = parsePrefix6(prefix)
  if (bits === 128) return `0x${hex128(parseIpv6(prefix))}`
  return `0x${hex128(address)}-0x${hex128(address | ((1n << BigInt(128 - bits)) - 1n))}`
}

function sourceRule(version: 4 | 6, mac: string, prefixes: string[]): string[] {
  if (prefixes.length === 0) return []
  return [`ether saddr ${mac} ${NFT_WORDS[version].match} saddr ${setOf(prefixes)} accept`]
}

/** The addresses that a port was given, of one version. */
export const ownAddresses = ({ addresses }: HeldPort, version: 4 | 6): string[] =>
  pickPrefixes(
    version,
    addresses.map(({ ipAddress }) => ipAddress),
  )

/** What the port may send from each MAC, its own first. */
function addressesByMac(port: HeldPort): Map<string, string[]> {
  const byMac = new Map([[parseMac(port.macAddress), port.addresses.map(({ ipAddress }) => ipAddress)]])
  for (const { ipAddress, macAddress } of port.allowedAddresses) {
    const mac = parseMac(macAddress)
    byMac.set(mac, [...(byMac.get(mac) ?? []), ipAddress])
  }
  return byMac
}
