/**
 * A server's cards, as `network_data.json` tells them to cloud-init. Pure.
 * Source: Nova's network_data.json schema; cloud-init, sources/helpers/openstack.py, which is what reads it.
 */
import { formatAddress, parseNetwork } from '../lib/ip.ts'
import type { GuestAddress, GuestCard } from './guest-facts.ts'

const linkName = (portId: string): string => `tap${portId.slice(0, 11)}`

/** The content of `network_data.json`. */
export function networkData(cards: readonly GuestCard[]) {
  const networks = cards.flatMap(({ portId, networkId, addresses }) =>
    addresses.map((address) => ({ link: linkName(portId), network_id: networkId, ...networkOf(address) })),
  )
  const nameservers = cards.flatMap(({ addresses }) => addresses.flatMap(({ dnsNameservers }) => dnsNameservers))
  return {
    links: cards.map(({ portId, macAddress, mtu }) => ({
      id: linkName(portId),
      type: 'bridge',
      vif_id: portId,
      ethernet_mac_address: macAddress,
      mtu,
    })),
    networks: networks.map((network, index) => ({ id: `network${index}`, ...network })),
    services: servicesOf(nameservers),
  }
}

function networkOf(address: GuestAddress) {
  const { ipVersion, source, ipAddress, cidr, dnsNameservers } = address
  switch (source) {
    case 'dhcp':
      return { type: 'ipv4_dhcp' }
    case 'static':
      return {
        type: `ipv${ipVersion}`,
        ip_address: ipAddress,
        netmask: networkAndMask(cidr).netmask,
        routes: routesOf(address),
        services: servicesOf(dnsNameservers),
      }
    default:
      return { type: `ipv6_${source}` }
  }
}

const servicesOf = (nameservers: readonly string[]) =>
  [...new Set(nameservers)].map((address) => ({ type: 'dns', address }))

/** The way out first. */
function routesOf({ ipVersion, gatewayIp, hostRoutes }: GuestAddress) {
  const any = ipVersion === 4 ? '0.0.0.0' : '::'
  const out = gatewayIp === null ? [] : [{ network: any, netmask: any, gateway: gatewayIp }]
  return [
    ...out,
    ...hostRoutes.map(({ destination, nexthop }) => ({ ...networkAndMask(destination), gateway: nexthop })),
  ]
}

/** `10.1.0.0/16` as 10.1.0.0 and 255.255.0.0. */
function networkAndMask(cidr: string): { network: string; netmask: string } {
  const { version, first, last } = parseNetwork(cidr)
  const all = version === 4 ? 0xffff_ffffn : (1n << 128n) - 1n
  return {
    network: formatAddress({ version, value: first }),
    netmask: formatAddress({ version, value: all - (last - first) }),
  }
}
