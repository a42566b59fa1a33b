/**
 * The rules of a router's namespace as one nft script, which replaces them at once. Pure.
 *
 *   inside ─▶ [prerouting: floating IPs and forwardings → inside] ─▶ [forward] ─▶ [postrouting: → outside] ─▶ outside
 *
 * - A floating IP is its guest's address to everybody: to the outside, and to guests behind the same router, who come
 *   back to it (hairpin) with their own floating IP, or the gateway's address, as source. Between networks of the
 *   router nothing is translated.
 * - Addresses are translated once, for a connection's first packet. So each packet is asked anew by which addresses its
 *   connection was translated, and passes only when the plan still says so: what was taken away ends at once.
 * - With SNAT nothing comes in from outside but by a floating IP or a forwarding, and nothing leaves by an inside
 *   address. Without, the outside may send to the inside: the addresses are then its own.
 * - IPv6 is never translated.
 * - A source address of a subnet that the router is on counts only when it comes from there. A guest whose own network
 *   has no filters could otherwise send in the name of guests of another, which their groups would believe.
 * - Link-local addresses stay on their link: behind the outside may be the metadata service of the cloud that this
 *   machine is itself a guest of.
 */
import { hex, numberLimits } from './floating-limits.ts'
import { formatDestination, parseNetwork } from './router-addresses.ts'
import type { FloatingDesign, ForwardingDesign, RouterDesign } from './router-design.ts'

/** As `nft list table` names it. */
export const ROUTER_TABLE = 'inet novella'

const set = (members: readonly string[]): string => `{ ${members.join(', ')} }`
const unless = (isEmpty: boolean, ...lines: string[]): string[] => (isEmpty ? [] : lines)
const chain = (name: string, lines: string[]): string[] => [
  `  chain ${name} {`,
  ...lines.map((line) => `    ${line}`),
  '  }',
]

/** The whole script for `nft -f -`; the same text for the same design. */
export function buildRouterRules(design: RouterDesign): string {
  const chains = design.isUp ? openChains(design) : closedChains()
  return [`table ${ROUTER_TABLE}`, `delete table ${ROUTER_TABLE}`, `table ${ROUTER_TABLE} {`, ...chains, '}', ''].join(
    '\n',
  )
}

/** A router that is not up passes nothing, and says nothing itself. */
const closedChains = (): string[] =>
  ['forward', 'input', 'output'].flatMap((hook) =>
    chain(hook, [
      `type filter hook ${hook} priority 0; policy drop;`,
      ...unless(hook === 'forward', `${hook === 'input' ? 'iifname' : 'oifname'} "lo" accept`),
    ]),
  )

function openChains(design: RouterDesign): string[] {
  const { gateway, floating, forwardings } = design
  return [
    ...chain('prerouting', [
      'type nat hook prerouting priority dstnat; policy accept;',
      ...toInside(floating, forwardings),
    ]),
    ...chain('postrouting', [
      'type nat hook postrouting priority srcnat; policy accept;',
      ...(gateway ? toOutside(design, gateway) : []),
    ]),
    ...chain('forward', [
      'type filter hook forward priority 0; policy drop;',
      'ct state invalid drop',
      // But for answers: by nat the machine asks from such an address.
      `ip daddr ${LINK_LOCAL} ct direction original drop`,
      ...design.devices.filter(({ isGateway }) => !isGateway).flatMap(onlyFromThere),
      ...(gateway ? forwardBetween(design, gateway) : []),
      'accept',
    ]),
    ...chain('translated_in', [...stillLeadsIn(floating, forwardings), 'drop']),
    ...chain('translated_out', [...(gateway ? stillLeadsOut(floating, gateway) : []), 'drop']),
    ...chain('input', [
      'type filter hook input priority 0; policy drop;',
      'iifname "lo" accept',
      'ct state invalid drop',
      'ct state established,related ct direction reply accept',
      'meta l4proto { icmp, ipv6-icmp } accept',
    ]),
    ...chain('pace', [
      'type filter hook postrouting priority 200; policy accept;',
      ...(gateway ? pace(design, gateway) : []),
    ]),
  ]
}

/** RFC 3927: routers do not forward it. */
const LINK_LOCAL = '169.254.0.0/16'

function onlyFromThere({ name, addresses }: RouterDesign['devices'][number]): string[] {
  return addresses.map(parseNetwork).map((network) => {
    const match = network.family === 4 ? 'ip' : 'ip6'
    return `iifname != "${name}" ${match} saddr ${formatDestination(network)} drop`
  })
}

const toInside = (floating: readonly FloatingDesign[], forwardings: readonly ForwardingDesign[]): string[] => [
  ...unless(
    forwardings.length === 0,
    `dnat ip to ip daddr . meta l4proto . th dport map ${set(
      forwardings.map(
        (one) => `${one.outside} . ${one.protocol} . ${one.outsidePort} : ${one.inside} . ${one.insidePort}`,
      ),
    )}`,
  ),
  ...unless(
    floating.length === 0,
    `dnat ip to ip daddr map ${set(floating.map(({ outside, inside }) => `${outside} : ${inside}`))}`,
  ),
]

type Gateway = NonNullable<RouterDesign['gateway']>

function toOutside({ devices, floating }: RouterDesign, { name, address, hasSnat }: Gateway): string[] {
  // A guest with several floating IPs speaks by the first.
  const ownAddress = new Map(floating.toReversed().map(({ inside, outside }) => [inside, outside]))
  const byOwn = `snat ip to ip saddr map ${set([...ownAddress].map(([inside, outside]) => `${inside} : ${outside}`))}`
  const outsideAddresses = outsideOf(devices)
  return [
    ...unless(floating.length === 0, `iifname != "${name}" ct status dnat ${byOwn}`, `oifname "${name}" ${byOwn}`),
    ...unless(
      address === undefined,
      // Back to the inside always so: a guest answers one of its own network directly, past this router.
      `iifname != "${name}" ct status dnat snat ip to ${address}`,
      ...unless(!hasSnat, `oifname "${name}" ip saddr != ${set(outsideAddresses)} snat ip to ${address}`),
    ),
  ]
}

/** IPv4 addresses of the gateway's device. */
const outsideOf = (devices: RouterDesign['devices']): string[] => [
  ...new Set(
    devices
      .filter(({ isGateway }) => isGateway)
      .flatMap(({ addresses }) => addresses.map((address) => address.split('/')[0] ?? ''))
      .filter((address) => !address.includes(':')),
  ),
]

function forwardBetween({ devices }: RouterDesign, { name, address, hasSnat }: Gateway): string[] {
  const isHidden = hasSnat && address !== undefined
  return [
    `iifname "${name}" oifname "${name}" drop`,
    ...unless(address === undefined, `iifname != "${name}" ip saddr ${set(outsideOf(devices))} drop`),
    'ct status dnat jump translated_in',
    'ct status snat jump translated_out',
    ...unless(
      !isHidden,
      // Begun before there was SNAT: it would go on by its inside address.
      `meta nfproto ipv4 oifname "${name}" ct state established ct direction original ct status ! snat drop`,
      `iifname "${name}" ct status dnat accept`,
      `iifname "${name}" ct state related accept`,
      `iifname "${name}" ct state established ct direction reply accept`,
      `meta nfproto ipv4 iifname "${name}" drop`,
    ),
  ]
}

const stillLeadsIn = (floating: readonly FloatingDesign[], forwardings: readonly ForwardingDesign[]): string[] => [
  ...unless(
    floating.length === 0,
    `ct original ip daddr . ct reply ip saddr ${set(floating.map(({ outside, inside }) => `${outside} . ${inside}`))} return`,
  ),
  ...forwardings.map(
    ({ protocol, outside, outsidePort, inside, insidePort }) =>
      `meta l4proto ${protocol} ct original ip daddr ${outside} ct original proto-dst ${outsidePort} ` +
      `ct reply ip saddr ${inside} ct reply proto-src ${insidePort} return`,
  ),
  // Errors about a connection carry another protocol than it.
  ...unless(forwardings.length === 0, 'ct state related return'),
]

const stillLeadsOut = (floating: readonly FloatingDesign[], { address, hasSnat }: Gateway): string[] => [
  ...unless(
    floating.length === 0,
    `ct original ip saddr . ct reply ip daddr ${set(floating.map(({ inside, outside }) => `${inside} . ${outside}`))} return`,
  ),
  ...unless(address === undefined, `${hasSnat ? '' : 'ct status dnat '}ct reply ip daddr ${address} return`),
]

/** Marks what a limited floating IP sends and gets with its class; see floating-limits.ts. */
function pace({ floating }: RouterDesign, { name }: Gateway): string[] {
  const limits = numberLimits(floating)
  const classOf = set(limits.map(({ outside, number }) => `${outside} : 1:${hex(number)}`))
  return unless(
    limits.length === 0,
    `oifname "${name}" meta priority set ip saddr map ${classOf}`,
    `oifname != "${name}" ct direction original meta priority set ct original ip daddr map ${classOf}`,
    `oifname != "${name}" ct direction reply meta priority set ct reply ip daddr map ${classOf}`,
  )
}
