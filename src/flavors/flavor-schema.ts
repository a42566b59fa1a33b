import { Type } from 'typebox'

const LinkView = Type.Object({ rel: Type.String(), href: Type.String() })

/** Body of one flavor in the brief list (S22). */
export const BriefFlavor = Type.Object({
  id: Type.String(),
  name: Type.String(),
  links: Type.Array(LinkView),
})

/** One flavor in full (S23, S24). */
export const FullFlavor = Type.Object({
  ...BriefFlavor.properties,
  ram: Type.Integer({ description: 'MiB' }),
  vcpus: Type.Integer(),
  disk: Type.Integer({ description: 'GiB' }),
  swap: Type.Union([Type.Integer({ description: 'MiB' }), Type.Literal('')]),
  'OS-FLV-EXT-DATA:ephemeral': Type.Integer({ description: 'GiB' }),
  'OS-FLV-DISABLED:disabled': Type.Boolean(),
  'os-flavor-access:is_public': Type.Boolean(),
  rxtx_factor: Type.Number(),
})

const NextLinks = Type.Optional(Type.Array(LinkView))

export const BriefFlavorList = Type.Object({ flavors: Type.Array(BriefFlavor), flavors_links: NextLinks })
export const FullFlavorList = Type.Object({ flavors: Type.Array(FullFlavor), flavors_links: NextLinks })
export const FlavorAnswer = Type.Object({ flavor: FullFlavor })

export const FlavorPath = Type.Object({ flavorId: Type.String() })

/** What a list of flavors may be asked; other members of the query mean nothing. */
export const FlavorListQuery = Type.Object({
  limit: Type.Optional(Type.String({ description: 'size of the page, from 0; at most 1000' })),
  marker: Type.Optional(Type.String({ description: 'id of the last flavor of the page before' })),
  minRam: Type.Optional(Type.String({ description: 'least memory, MiB' })),
  minDisk: Type.Optional(Type.String({ description: 'least disk, GiB' })),
  is_public: Type.Optional(Type.String({ description: 'for admins: true, false, or None for all' })),
  sort_key: Type.Optional(Type.String({ description: 'flavorid by default' })),
  sort_dir: Type.Optional(Type.String({ description: 'asc by default, or desc' })),
})
