import { Type } from 'typebox'

/** One image, bare. Free properties stand beside the known members. */
export const ImageAnswer = Type.Object(
  {
    id: Type.String(),
    name: Type.Union([Type.String(), Type.Null()]),
    status: Type.String(),
    visibility: Type.String(),
    owner: Type.Union([Type.String(), Type.Null()], { description: 'id of the project it belongs to' }),
    protected: Type.Boolean(),
    os_hidden: Type.Boolean(),
    tags: Type.Array(Type.String()),
    size: Type.Union([Type.Integer(), Type.Null()], { description: 'bytes of the file' }),
    virtual_size: Type.Union([Type.Integer(), Type.Null()], { description: 'bytes of the disk that a server sees' }),
    checksum: Type.Union([Type.String(), Type.Null()], { description: 'MD5 of the file, in hex' }),
    os_hash_algo: Type.Union([Type.String(), Type.Null()]),
    os_hash_value: Type.Union([Type.String(), Type.Null()]),
    disk_format: Type.Union([Type.String(), Type.Null()]),
    container_format: Type.Union([Type.String(), Type.Null()]),
    min_disk: Type.Integer({ description: 'GiB' }),
    min_ram: Type.Integer({ description: 'MiB' }),
    created_at: Type.String(),
    updated_at: Type.String(),
    self: Type.String(),
    file: Type.String(),
    schema: Type.String(),
  },
  { additionalProperties: Type.String() },
)

/** A page of images. The links are paths, to be appended to the address of the service. */
export const ImageListAnswer = Type.Object({
  images: Type.Array(ImageAnswer),
  first: Type.String(),
  next: Type.Optional(Type.String()),
  schema: Type.String(),
})

export const ImagePath = Type.Object({ imageId: Type.String() })

/** Filters, order and paging; what each member may be is said in image-query.ts. Other members filter by property. */
export const ImageListQuery = Type.Record(Type.String(), Type.Union([Type.String(), Type.Array(Type.String())]))

/** Members are checked where their values are read: others than the known ones are free properties. */
export const CreateImageRequest = Type.Record(Type.String(), Type.Unknown())

export const TagPath = Type.Object({ imageId: Type.String(), tag: Type.String() })
export const MemberPath = Type.Object({ imageId: Type.String(), memberId: Type.String() })

const MemberStatus = Type.Union([Type.Literal('pending'), Type.Literal('accepted'), Type.Literal('rejected')])

export const MemberAnswer = Type.Object({
  image_id: Type.String(),
  member_id: Type.String({ description: 'id of the project it is shared with' }),
  status: MemberStatus,
  created_at: Type.String(),
  updated_at: Type.String(),
  schema: Type.String(),
})
export const MemberListAnswer = Type.Object({ members: Type.Array(MemberAnswer), schema: Type.String() })
export const AddMemberRequest = Type.Object({ member: Type.String({ minLength: 1, maxLength: 255 }) })
export const UpdateMemberRequest = Type.Object({ status: MemberStatus })

/** Where the bytes come from; what else clients send (stores) has no meaning with one store. */
export const ImportRequest = Type.Object({
  method: Type.Object({ name: Type.String(), uri: Type.Optional(Type.String()) }),
})

const Word = Type.Union([Type.String(), Type.Null()])
export const InspectionAnswer = Type.Object({
  image_id: Type.String(),
  outcome: Type.Union([Type.Literal('none'), Type.Literal('passed'), Type.Literal('refused')]),
  format: Word,
  virtual_size: Type.Union([Type.Integer(), Type.Null()]),
  checks: Type.Array(Type.Object({ name: Type.String(), outcome: Type.String(), note: Type.Optional(Type.String()) })),
  refusal: Type.Union([Type.Object({ check: Type.String(), message: Type.String() }), Type.Null()]),
})
