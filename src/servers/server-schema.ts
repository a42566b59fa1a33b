/**
 * Request and answer bodies of servers, newest shape.
 * Source: shared/spec/uos-compute.md, sections 3 and 4; shared/spec/nova-v21.md, section 2.2.
 */
import { type Static, Type } from 'typebox'
import { MOST_CARDS } from '../host/host-driver.ts'
import { Mapping, OldMapping } from './mapping-schema.ts'

/** A count: a number from 1, or the same as digits. */
const Count = Type.Union([
  Type.Integer({ minimum: 1, maximum: 1000 }),
  Type.String({ pattern: '^0*[1-9][0-9]{0,2}$', description: 'a whole number from 1 to 999' }),
])

/** Something that is not blank, without control characters: names end up in prompts, logs and terminals. */
export const Name = Type.String({
  minLength: 1,
  maxLength: 255,
  pattern: '^(?=.*\\S)[^\\u0000-\\u001f\\u007f]*$',
})

/** Flags as words; clients of Nova send an empty one for no. */
const FLAG_WORDS = [
  ...['True', 'TRUE', 'true', '1', 'ON', 'On', 'on', 'YES', 'Yes', 'yes'],
  ...['False', 'FALSE', 'false', '0', 'OFF', 'Off', 'off', 'NO', 'No', 'no', ''],
]

export const Metadata = Type.Record(
  Type.String({ pattern: '^[a-zA-Z0-9_:. -]{1,255}$' }),
  Type.String({ maxLength: 255 }),
  // A key that does not fit the pattern is refused, not dropped.
  { additionalProperties: false },
)

const WishedNetwork = Type.Object({
  uuid: Type.Optional(Type.String()),
  port: Type.Optional(Type.Union([Type.String(), Type.Null()])),
  fixed_ip: Type.Optional(Type.String()),
})

export const CreateServerRequest = Type.Object({
  server: Type.Object({
    name: Name,
    flavorRef: Type.Union([Type.String({ minLength: 1 }), Type.Integer()]),
    imageRef: Type.Optional(
      Type.Union([Type.String(), Type.Null()], { description: 'absent or empty: it boots from a volume' }),
    ),
    min_count: Type.Optional(Count),
    max_count: Type.Optional(Count),
    networks: Type.Optional(Type.Union([Type.Array(WishedNetwork, { maxItems: MOST_CARDS }), Type.Null()])),
    key_name: Type.Optional(Type.Union([Type.String(), Type.Null()])),
    adminPass: Type.Optional(Type.String({ minLength: 1, maxLength: 255, pattern: '^[^\\u0000-\\u001f\\u007f]*$' })),
    security_groups: Type.Optional(Type.Array(Type.Object({ name: Type.String() }), { maxItems: 64 })),
    metadata: Type.Optional(Metadata),
    user_data: Type.Optional(Type.Union([Type.String({ maxLength: 65_535 }), Type.Null()])),
    availability_zone: Type.Optional(Type.Union([Type.String({ maxLength: 255 }), Type.Null()])),
    accessIPv4: Type.Optional(Type.Union([Type.String({ format: 'ipv4' }), Type.Literal(''), Type.Null()])),
    accessIPv6: Type.Optional(Type.Union([Type.String({ format: 'ipv6' }), Type.Literal(''), Type.Null()])),
    'OS-DCF:diskConfig': Type.Optional(Type.Enum(['AUTO', 'MANUAL'])),
    return_reservation_id: Type.Optional(Type.Boolean()),
    config_drive: Type.Optional(Type.Union([Type.Boolean(), Type.Enum(FLAG_WORDS), Type.Null()])),
    personality: Type.Optional(
      Type.Union([
        Type.Array(Type.Object({ path: Type.String({ minLength: 1, maxLength: 255 }), contents: Type.String() })),
        Type.Null(),
      ]),
    ),
    block_device_mapping: OldMapping,
    block_device_mapping_v2: Mapping,
  }),
})

export const UpdateServerRequest = Type.Object({
  server: Type.Object({
    name: Type.Optional(Name),
    accessIPv4: Type.Optional(Type.Union([Type.String({ format: 'ipv4' }), Type.Literal(''), Type.Null()])),
    accessIPv6: Type.Optional(Type.Union([Type.String({ format: 'ipv6' }), Type.Literal(''), Type.Null()])),
    'OS-DCF:diskConfig': Type.Optional(Type.Enum(['AUTO', 'MANUAL'])),
  }),
})

/** Exactly one member, which names the action. What it holds is checked against the row of the action table. */
export const ActionRequest = Type.Record(Type.String(), Type.Unknown(), { minProperties: 1, maxProperties: 1 })

const Link = Type.Object({ href: Type.String(), rel: Type.String() })
const NamedLink = Type.Object({ id: Type.String(), links: Type.Array(Link), name: Type.Optional(Type.String()) })
const Address = Type.Object({
  addr: Type.String(),
  version: Type.Integer(),
  'UOS-EXT-IPS:id': Type.String(),
  'UOS-EXT-IPS:subnet_id': Type.String(),
  'UOS-EXT-IPS:subnet_name': Type.String(),
  'UOS-EXT-IPS:subnet_shared': Type.Boolean(),
  'OS-EXT-IPS:type': Type.Optional(Type.String()),
  'OS-EXT-IPS-MAC:mac_addr': Type.Optional(Type.String()),
})
const Addresses = Type.Record(Type.String(), Type.Array(Address))
// As two types of one value, not as a choice of two schemas: those the serializer would try out one after the other.
const TextOrNull = Type.Unsafe<string | null>({ type: ['string', 'null'] })

const BriefServer = Type.Object({
  addresses: Addresses,
  id: Type.String(),
  links: Type.Array(Link),
  name: Type.String(),
})

/** `""` for a server that boots from a volume. */
const ImageLink = Type.Unsafe<Static<typeof NamedLink> | ''>({ ...NamedLink, type: ['object', 'string'] })

const UpdatedServer = Type.Object({
  status: Type.String(),
  updated: Type.String(),
  hostId: Type.String(),
  addresses: Addresses,
  links: Type.Array(Link),
  image: ImageLink,
  flavor: NamedLink,
  id: Type.String(),
  user_id: Type.String(),
  name: Type.String(),
  created: Type.String(),
  tenant_id: Type.String(),
  'OS-DCF:diskConfig': Type.String(),
  accessIPv4: Type.String(),
  accessIPv6: Type.String(),
  progress: Type.Optional(Type.Integer()),
  metadata: Type.Record(Type.String(), Type.String()),
  fault: Type.Optional(
    Type.Object({
      code: Type.Integer(),
      created: Type.String(),
      message: Type.String(),
      details: Type.Optional(Type.String()),
    }),
  ),
})

const FullServer = Type.Object({
  ...UpdatedServer.properties,
  'OS-EXT-SRV-ATTR:host': Type.String(),
  key_name: TextOrNull,
  'OS-EXT-STS:task_state': TextOrNull,
  'OS-EXT-STS:vm_state': Type.String(),
  'OS-EXT-SRV-ATTR:instance_name': Type.String(),
  'OS-SRV-USG:launched_at': TextOrNull,
  'OS-EXT-SRV-ATTR:hypervisor_hostname': Type.String(),
  security_groups: Type.Array(Type.Object({ port_id: Type.String(), name: Type.String(), id: Type.String() })),
  'OS-SRV-USG:terminated_at': TextOrNull,
  'OS-EXT-AZ:availability_zone': Type.String(),
  'os-extended-volumes:volumes_attached': Type.Array(Type.Object({ id: Type.String() })),
  'OS-EXT-STS:power_state': Type.Integer(),
  config_drive: Type.String(),
})

const NextLinks = Type.Optional(Type.Array(Link))

export const CreatedAnswer = Type.Object({
  server: Type.Optional(
    Type.Object({
      security_groups: Type.Array(Type.Object({ name: Type.String() })),
      'OS-DCF:diskConfig': Type.String(),
      id: Type.String(),
      links: Type.Array(Link),
      adminPass: Type.String(),
    }),
  ),
  reservation_id: Type.Optional(Type.String()),
})
export const BriefListAnswer = Type.Object({ servers: Type.Array(BriefServer), servers_links: NextLinks })
export const FullListAnswer = Type.Object({ servers: Type.Array(FullServer), servers_links: NextLinks })
export const FullAnswer = Type.Object({ server: FullServer })
export const UpdatedAnswer = Type.Object({ server: UpdatedServer })
