import { Type } from 'typebox'

/** Body of `POST /os-keypairs`. A `public_key` that is present and not null is imported; without one, a key is made. */
export const CreateKeypairRequest = Type.Object({
  keypair: Type.Object({
    name: Type.String({ description: 'unique among the keypairs of the user; spaces around it are dropped' }),
    public_key: Type.Optional(
      Type.Union([Type.String({ description: 'the one line of a .pub file of OpenSSH' }), Type.Null()]),
    ),
    key_type: Type.Optional(
      Type.Union([Type.Literal('rsa'), Type.Literal('ed25519')], {
        description: "Novella's own: the kind of key to make when none is imported; rsa by default",
      }),
    ),
  }),
})

const ListedKeypair = Type.Object({
  name: Type.String(),
  public_key: Type.String(),
  fingerprint: Type.String({ description: 'MD5 of the public key, in hex with colons' }),
})

/** S13 and S14. */
export const CreatedKeypairAnswer = Type.Object({
  keypair: Type.Object({
    ...ListedKeypair.properties,
    user_id: Type.String(),
    private_key: Type.Optional(Type.String({ description: 'PEM; only of a key made here, and only in this answer' })),
  }),
})

/** S15: each item is wrapped once more. */
export const KeypairListAnswer = Type.Object({ keypairs: Type.Array(Type.Object({ keypair: ListedKeypair })) })

/** S16. */
export const KeypairAnswer = Type.Object({
  keypair: Type.Object({
    ...ListedKeypair.properties,
    user_id: Type.String(),
    id: Type.Integer(),
    created_at: Type.String(),
    updated_at: Type.Null(),
    deleted_at: Type.Null(),
    deleted: Type.Boolean(),
  }),
})

export const KeypairPath = Type.Object({ keyName: Type.String() })
