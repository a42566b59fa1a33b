import { Type } from 'typebox'
import { attribute, flag, nullable, text, UUID_PATTERN, uuid } from '../network-api/attributes.ts'

/** Longer than any address; what is one is decided by who reads it. */
const Address = Type.String({ maxLength: 64 })
const Uuid = Type.String({ pattern: UUID_PATTERN, description: 'a UUID' })
/** A card's own address: no group's, not all zeros, and none of hosts' own devices, which begin with fa:17. */
const Mac = Type.String({
  pattern: '^(?!00:00:00:00:00:00$|[fF][aA]:17:)[0-9a-fA-F][02468aceACE](:[0-9a-fA-F]{2}){5}$',
  description: 'a MAC address of one card',
})

/** What a member may send in an allowed address; at most so many. Source: Neutron's max_allowed_address_pair. */
const PAIRS = 10

/** What an owner may change later. */
export const PORT_CHANGES = {
  name: text(),
  description: text(),
  admin_state_up: flag(),
  mac_address: attribute(Mac),
  fixed_ips: attribute(
    Type.Array(
      Type.Object(
        { subnet_id: Type.Optional(Uuid), ip_address: Type.Optional(Address) },
        { additionalProperties: false },
      ),
      { maxItems: 10 },
    ),
  ),
  device_id: text(),
  device_owner: text(),
  security_groups: attribute(Type.Array(Uuid, { maxItems: 64 })),
  port_security_enabled: flag(),
  allowed_address_pairs: nullable(
    attribute(
      Type.Array(
        Type.Object(
          { ip_address: Type.String({ maxLength: 64 }), mac_address: Type.Optional(Type.Union([Mac, Type.Null()])) },
          { additionalProperties: false },
        ),
        { maxItems: PAIRS },
      ),
    ),
  ),
  extra_dhcp_opts: nullable(
    attribute(
      Type.Array(
        Type.Object(
          {
            opt_name: Type.String({ minLength: 1, maxLength: 64 }),
            opt_value: Type.Union([Type.String({ maxLength: 255 }), Type.Null()]),
            ip_version: Type.Optional(
              Type.Union([Type.Literal(4), Type.Literal(6), Type.Literal('4'), Type.Literal('6')]),
            ),
          },
          { additionalProperties: false },
        ),
        { maxItems: 20 },
      ),
    ),
  ),
  'binding:host_id': text(),
  'binding:profile': nullable(attribute(Type.Record(Type.String(), Type.Unknown(), { maxProperties: 32 }))),
  // All cards here are virtio; a port that asked for another kind would not get it.
  'binding:vnic_type': attribute(Type.Literal('normal')),
  'binding:disable_anti_spoofing': flag(),
  dns_name: attribute(Type.String({ pattern: '^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)?$' })),
}

/** What is said only when it is made. */
export const PORT_FIRST = {
  network_id: uuid(),
  tags: attribute(Type.Array(Type.String({ minLength: 1, maxLength: 255, pattern: '^[^,/]*$' }), { maxItems: 50 })),
}

/** A member that the UOS document calls so in one place (I-N13). */
export const PORT_ALIASES = { disable_anti_spoofing: 'binding:disable_anti_spoofing' }
