/**
 * Bodies of servers as Nova v2.1 takes them. What they do not name is refused, see http/compute-app.ts.
 * Source: shared/spec/nova-v21.md, section 2.2.
 */
import { Type } from 'typebox'
import { MOST_CARDS } from '../host/host-driver.ts'
import { CreateServerRequest, UpdateServerRequest } from './server-schema.ts'

/** Printable, with no white space at either end. */
const NovaName = Type.String({
  minLength: 1,
  maxLength: 255,
  pattern: '^(?!\\s)[^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]*(?<!\\s)$',
})
const Flag = Type.Union([
  Type.Boolean(),
  Type.Enum(['True', 'TRUE', 'true', '1', 'ON', 'On', 'on', 'YES', 'Yes', 'yes']),
  Type.Enum(['False', 'FALSE', 'false', '0', 'OFF', 'Off', 'off', 'NO', 'No', 'no']),
])
/** Free members; those that would have an effect on a cloud of many hosts are looked at by the handler. */
const Hints = Type.Optional(Type.Record(Type.String(), Type.Unknown()))

const wish = CreateServerRequest.properties.server.properties

export const NovaCreateRequest = Type.Object({
  server: Type.Object({
    ...wish,
    name: NovaName,
    imageRef: Type.Optional(Type.String()),
    networks: Type.Optional(
      Type.Array(
        Type.Object({
          uuid: Type.Optional(Type.String()),
          port: Type.Optional(Type.Union([Type.String({ format: 'uuid' }), Type.Null()])),
          fixed_ip: Type.Optional(Type.Union([Type.String({ format: 'ipv4' }), Type.String({ format: 'ipv6' })])),
        }),
        { maxItems: MOST_CARDS },
      ),
    ),
    key_name: Type.Optional(Type.String()),
    user_data: Type.Optional(Type.String({ maxLength: 65_535 })),
    availability_zone: Type.Optional(Type.String({ minLength: 1, maxLength: 255 })),
    accessIPv4: Type.Optional(Type.String({ format: 'ipv4' })),
    accessIPv6: Type.Optional(Type.String({ format: 'ipv6' })),
    return_reservation_id: Type.Optional(Flag),
    config_drive: Type.Optional(Flag),
  }),
  'os:scheduler_hints': Hints,
  'OS-SCH-HNT:scheduler_hints': Hints,
})

const update = UpdateServerRequest.properties.server.properties

export const NovaUpdateRequest = Type.Object({
  server: Type.Object({
    ...update,
    name: Type.Optional(NovaName),
    accessIPv4: Type.Optional(Type.String({ format: 'ipv4' })),
    accessIPv6: Type.Optional(Type.String({ format: 'ipv6' })),
  }),
})
