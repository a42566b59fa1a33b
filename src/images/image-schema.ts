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
