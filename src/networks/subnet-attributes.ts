import { Type } from 'typebox'
import { attribute, flag, integer, nullable, text, uuid } from '../network-api/attributes.ts'

/** Longer than any address; what is one is decided by who reads it. */
const Address = Type.String({ maxLength: 64 })
const addresses = (most: number) => attribute(Type.Array(Address, { maxItems: most }))
const ipv6Mode = () =>
  nullable(
    attribute(
      Type.Union([Type.Literal('slaac'), Type.Literal('dhcpv6-stateless'), Type.Literal('dhcpv6-stateful')], {
        description: 'slaac, dhcpv6-stateless or dhcpv6-stateful',
      }),
    ),
  )

/** What an owner may change later. */
export const SUBNET_CHANGES = {
  name: text(),
  description: text(),
  gateway_ip: nullable(attribute(Address)),
  allocation_pools: attribute(Type.Array(Type.Object({ start: Address, end: Address }), { maxItems: 100 })),
  dns_nameservers: addresses(5),
  host_routes: attribute(Type.Array(Type.Object({ destination: Address, nexthop: Address }), { maxItems: 20 })),
  enable_dhcp: flag(),
  service_types: addresses(20),
}

/** What is fixed once it is made. */
export const SUBNET_FIRST = {
  network_id: uuid(),
  ip_version: integer(4, 6),
  cidr: attribute(Address),
  ipv6_ra_mode: ipv6Mode(),
  ipv6_address_mode: ipv6Mode(),
  // Known to clients, which send null for "none"; there are no pools of subnets here.
  subnetpool_id: attribute(Type.Null()),
}

/** Members that the UOS document calls otherwise in one place. */
export const SUBNET_ALIASES = { dns_nameserver: 'dns_nameservers' }
