/** Bodies of the volume service. Null is as good as nothing there: clients send it for whatever they leave out. */
import { type TSchema, Type } from 'typebox'

const orNull = <Schema extends TSchema>(schema: Schema) => Type.Optional(Type.Union([schema, Type.Null()]))

export const Name = Type.String({ maxLength: 255 })
/** A whole number from 1, perhaps in digits. */
export const Size = Type.Union([
  Type.Integer({ minimum: 1, maximum: 2_147_483_647 }),
  Type.String({ pattern: '^0{0,9}[1-9][0-9]{0,8}$' }),
])
/** A flag, also as the words that Python and shells print. */
export const Flag = Type.Union([
  Type.Boolean(),
  Type.Integer({ minimum: 0, maximum: 1 }),
  Type.String({ pattern: '^([Tt]rue|TRUE|[Tt]|[Yy]es|[Yy]|[Oo]n|1|[Ff]alse|FALSE|[Ff]|[Nn]o|[Nn]|[Oo]ff|0)$' }),
])
export const isTrue = (flag: unknown): boolean =>
  flag === true || flag === 1 || (typeof flag === 'string' && /^(1|true|t|yes|y|on)$/i.test(flag))

export const Metadata = Type.Record(Type.String({ pattern: '^[^\\u0000]{1,255}$' }), Type.String({ maxLength: 255 }), {
  additionalProperties: false,
})
const Reference = Type.String({ maxLength: 255 })

/** Members by both their names: those of Cinder and those of UOS. */
const NAMES = {
  name: orNull(Name),
  display_name: orNull(Name),
  description: orNull(Name),
  display_description: orNull(Name),
}

/** The name and description of a body, by whichever name they have there; undefined for what it does not say. */
export function readNames(body: {
  name?: string | null
  display_name?: string | null
  description?: string | null
  display_description?: string | null
}): { name: string | undefined; description: string | null | undefined } {
  const name = body.name ?? body.display_name ?? (body.name === null || body.display_name === null ? '' : undefined)
  const description = body.description ?? body.display_description
  const isCleared = body.description === null || body.display_description === null
  return { name: name?.trim(), description: description ?? (isCleared ? null : undefined) }
}

export const CreateVolumeRequest = Type.Object({
  volume: Type.Object({
    ...NAMES,
    size: orNull(Size),
    availability_zone: orNull(Name),
    volume_type: orNull(Reference),
    metadata: orNull(Metadata),
    snapshot_id: orNull(Reference),
    source_volid: orNull(Reference),
    imageRef: orNull(Reference),
    image_id: orNull(Reference),
    consistencygroup_id: orNull(Reference),
    group_id: orNull(Reference),
    backup_id: orNull(Reference),
    multiattach: orNull(Flag),
  }),
})

/** What a strict caller may send beside the members above. */
export const TOLERATED_MEMBERS = [
  'source_replica',
  'status',
  'user_id',
  'attach_status',
  'project_id',
  'scheduler_hints',
]

export const UpdateVolumeRequest = Type.Object({
  volume: Type.Object({ ...NAMES, metadata: orNull(Metadata) }),
})

export const CreateSnapshotRequest = Type.Object({
  snapshot: Type.Object({ ...NAMES, volume_id: Reference, force: orNull(Flag), metadata: orNull(Metadata) }),
})

export const UpdateSnapshotRequest = Type.Object({
  snapshot: Type.Object(NAMES),
})

export const MetadataRequest = Type.Object({ metadata: Metadata })
export const MetaRequest = Type.Object({ meta: Metadata })
