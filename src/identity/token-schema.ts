import { type Static, Type } from 'typebox'

/** No control character that PostgreSQL could not compare with; as long as a name or an id may be. */
const Word = Type.String({ maxLength: 255, pattern: '^[^\\u0000]*$' })
const Password = Type.String({ maxLength: 4096 })
const TokenId = Type.Object({ id: Type.String({ maxLength: 4096 }) })
const Domain = Type.Object({ id: Type.Optional(Word), name: Type.Optional(Word) })
const Named = { id: Type.Optional(Word), name: Type.Optional(Word), domain: Type.Optional(Domain) }

const Scope = Type.Object({
  project: Type.Optional(Type.Object(Named)),
  domain: Type.Optional(Domain),
  system: Type.Optional(Type.Object({ all: Type.Optional(Type.Boolean()) })),
})

/** Body of `POST /v3/auth/tokens`. */
export const IssueTokenRequest = Type.Object({
  auth: Type.Object({
    identity: Type.Object({
      methods: Type.Array(Type.String(), { minItems: 1, maxItems: 16 }),
      password: Type.Optional(Type.Object({ user: Type.Object({ ...Named, password: Password }) })),
      token: Type.Optional(TokenId),
    }),
    // The object comes first: of two failures, the caller is told the one about it.
    scope: Type.Optional(Type.Union([Scope, Type.Literal('unscoped')])),
  }),
})
export type IssueTokenRequest = Static<typeof IssueTokenRequest>

/** Body of `POST /v2.0/tokens`. */
export const IssueTokenV2Request = Type.Object({
  auth: Type.Object({
    passwordCredentials: Type.Optional(
      Type.Object({ username: Type.Optional(Word), userId: Type.Optional(Word), password: Password }),
    ),
    token: Type.Optional(TokenId),
    tenantId: Type.Optional(Word),
    tenantName: Type.Optional(Word),
  }),
})
export type IssueTokenV2Request = Static<typeof IssueTokenV2Request>

const Reference = Type.Object({ id: Type.String(), name: Type.String() })
const InDomain = Type.Object({ id: Type.String(), name: Type.String(), domain: Reference })

export const CatalogAnswer = Type.Array(
  Type.Object({
    id: Type.String(),
    type: Type.String(),
    name: Type.String(),
    endpoints: Type.Array(
      Type.Object({
        id: Type.String(),
        interface: Type.String(),
        region: Type.String(),
        region_id: Type.String(),
        url: Type.String(),
      }),
    ),
  }),
)

/** The links of every list; there is one page only. */
export const ListLinks = Type.Object({ self: Type.String(), next: Type.Null(), previous: Type.Null() })

/** A token as v3 shows it; the members about the project are there when it is scoped to one. */
export const TokenAnswer = Type.Object({
  token: Type.Object({
    methods: Type.Array(Type.String()),
    user: Type.Object({
      id: Type.String(),
      name: Type.String(),
      domain: Reference,
      password_expires_at: Type.Null(),
    }),
    audit_ids: Type.Array(Type.String()),
    expires_at: Type.String(),
    issued_at: Type.String(),
    project: Type.Optional(InDomain),
    is_domain: Type.Optional(Type.Boolean()),
    roles: Type.Optional(Type.Array(Reference)),
    catalog: Type.Optional(CatalogAnswer),
  }),
})
export type TokenAnswer = Static<typeof TokenAnswer>
