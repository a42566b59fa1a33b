import { ApiError } from '../http/api-error.ts'
import type { IssueTokenRequest, IssueTokenV2Request } from './token-schema.ts'
import type { DomainRef, Ref } from './user-store.ts'

/** What a new token shall be good for. `default`: the user's default project if there is one, else none. */
export type ScopeWish = 'default' | 'unscoped' | { project: Ref } | 'domain' | 'system'

export interface PasswordProof {
  user: Ref
  password: string
}

/** What a request brings to prove who asks, and what for. At least one proof is there. */
export interface AuthWish {
  password?: PasswordProof | undefined
  /** A token that the user has already. */
  token?: string | undefined
  scope: ScopeWish
}

type Auth = IssueTokenRequest['auth']
type Named = { id?: string; name?: string; domain?: { id?: string; name?: string } }

/** The domain of v2.0, which knows no domains. */
const V2_DOMAIN: DomainRef = { id: 'default' }

/**
 * What `POST /v3/auth/tokens` asks for.
 * @throws ApiError badRequest for a name without its domain, a method without its proof, a scope of no or two kinds;
 * unauthorized for methods we do not have, as Keystone answers.
 */
export function readAuth({ identity, scope }: Auth): AuthWish {
  const methods = new Set(identity.methods)
  for (const method of methods) {
    if (method !== 'password' && method !== 'token') {
      throw new ApiError('unauthorized', `There is no such method of authentication here; use password or token.`)
    }
    if (identity[method] === undefined) {
      throw new ApiError('badRequest', `'auth.identity' lacks the member '${method}', which its methods name.`)
    }
  }
  const proof = methods.has('password') ? identity.password?.user : undefined
  return {
    password: proof && { user: readRef(proof, 'auth.identity.password.user'), password: proof.password },
    token: methods.has('token') ? identity.token?.id : undefined,
    scope: readScope(scope),
  }
}

/**
 * What `POST /v2.0/tokens` asks for.
 * @throws ApiError badRequest when there is no proof, or neither name nor id.
 */
export function readV2Auth({
  passwordCredentials: proof,
  token,
  tenantId,
  tenantName,
}: IssueTokenV2Request['auth']): AuthWish {
  if (!proof && !token) {
    throw new ApiError('badRequest', "'auth' lacks 'passwordCredentials' or 'token'.")
  }
  const inDomain = (named: { id?: string | undefined; name?: string | undefined }) =>
    readRef(
      {
        ...(named.id !== undefined && { id: named.id }),
        ...(named.name !== undefined && { name: named.name }),
        domain: V2_DOMAIN,
      },
      'auth',
    )
  return {
    password: proof && { user: inDomain({ id: proof.userId, name: proof.username }), password: proof.password },
    token: token?.id,
    // Clients that have no tenant to name send an empty one.
    scope: tenantId || tenantName ? { project: inDomain({ id: tenantId || undefined, name: tenantName }) } : 'default',
  }
}

function readScope(scope: Auth['scope']): ScopeWish {
  if (scope === undefined) return 'default'
  if (typeof scope === 'string') return 'unscoped'
  const kinds = (['project', 'domain', 'system'] as const).filter((kind) => scope[kind] !== undefined)
  const [kind] = kinds
  if (kind === undefined || kinds.length > 1) {
    throw new ApiError(
      'badRequest',
      '\'auth.scope\' must have exactly one of project, domain and system, or be "unscoped".',
    )
  }
  return kind === 'project' ? { project: readRef(scope.project ?? {}, 'auth.scope.project') } : kind
}

function readRef({ id, name, domain }: Named, where: string): Ref {
  if (id !== undefined) return { id }
  if (name === undefined) throw new ApiError('badRequest', `'${where}' needs an id, or a name and a domain.`)
  if (domain?.id !== undefined) return { name, domain: { id: domain.id } }
  if (domain?.name !== undefined) return { name, domain: { name: domain.name } }
  throw new ApiError('badRequest', `'${where}' has a name; it needs a domain with an id or a name, too.`)
}
