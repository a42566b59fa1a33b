/**
 * How creates name disks: an item of `block_device_mapping_v2`, and of the older `block_device_mapping`.
 * Source: shared/spec/nova-v21.md, section 2.1.
 */
import { Type } from 'typebox'
import { MOST_DISKS } from '../host/volume-host.ts'

const orNull = <Schema extends Parameters<typeof Type.Union>[0][number]>(schema: Schema) =>
  Type.Optional(Type.Union([schema, Type.Null()]))

const Text = orNull(Type.String({ maxLength: 255 }))
const Id = orNull(Type.String({ minLength: 1, maxLength: 255, pattern: '^[a-zA-Z0-9._-]*$' }))
const Flag = orNull(Type.Union([Type.Boolean(), Type.Enum(['true', 'false', 'True', 'False', '1', '0'])]))
/** GiB, but MiB for swap. */
const Size = orNull(
  Type.Union([
    Type.Integer({ minimum: 1, maximum: 2_147_483_647 }),
    Type.String({ pattern: '^0*[1-9][0-9]{0,8}$', description: 'a whole number from 1' }),
  ]),
)

export const MappingItem = Type.Object({
  source_type: orNull(Type.Enum(['volume', 'image', 'snapshot', 'blank'])),
  destination_type: orNull(Type.Enum(['local', 'volume'])),
  uuid: Id,
  volume_id: Id,
  snapshot_id: Id,
  image_id: Id,
  boot_index: orNull(
    Type.Union([Type.Integer({ minimum: -1000, maximum: 1000 }), Type.String({ pattern: '^-?[0-9]{1,4}$' })]),
  ),
  volume_size: Size,
  volume_type: Text,
  delete_on_termination: Flag,
  device_name: Text,
  guest_format: Text,
  device_type: Text,
  disk_bus: Text,
  tag: orNull(Type.String({ minLength: 1, maxLength: 60, pattern: '^[^,/]*$' })),
  no_device: Flag,
})

export const OldMappingItem = Type.Object({
  virtual_name: Text,
  volume_id: Id,
  snapshot_id: Id,
  volume_size: Size,
  device_name: Text,
  delete_on_termination: Flag,
  no_device: Flag,
})

/** Clients may name the image's disk too, which is not counted: so one more. */
const MOST_ITEMS = MOST_DISKS + 1
export const Mapping = orNull(Type.Array(MappingItem, { maxItems: MOST_ITEMS }))
export const OldMapping = orNull(Type.Array(OldMappingItem, { maxItems: MOST_ITEMS }))
