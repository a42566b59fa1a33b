import type { FastifyRequest } from 'fastify'
import type { Cloud } from '../cloud.ts'
import type { TokenFacts } from '../identity/token-store.ts'
import { ApiError } from './api-error.ts'
import { baseUrl } from './base-url.ts'
import { type Caller, enforce, type Operation } from './policy.ts'

/**
 * Finds out who calls, from `X-Auth-Token`, before anything else is looked at.
 * @throws ApiError unauthorized, with the address where a token is to be had.
 */
export async function authenticate(cloud: Cloud, request: FastifyRequest): Promise<TokenFacts> {
  const token = request.headers['x-auth-token']
  const facts =
    typeof token === 'string' && token !== ''
      ? await cloud.tokens.find(cloud.db.read, token, cloud.clock.now())
      : undefined
  if (facts) return facts
  throw new ApiError('unauthorized', 'The request you have made requires authentication: a valid X-Auth-Token.', {
    service: 'identity',
    headers: { 'www-authenticate': `Keystone uri="${baseUrl(cloud, request)}/identity"` },
  })
}

/**
 * Lets the caller through to an operation, in the project that the path names.
 * @throws ApiError forbidden; badRequest when the path names another project than the token.
 */
export function authorize(
  request: Pick<FastifyRequest, 'id'>,
  facts: TokenFacts,
  operation: Operation,
  inPath: string | undefined,
): Caller {
  enforce(operation, facts.roles, facts.projectId)
  if (inPath !== undefined && inPath !== facts.projectId) {
    throw new ApiError('badRequest', `The project in the path, '${inPath}', is not the project of the token.`)
  }
  return {
    userId: facts.userId,
    projectId: facts.projectId ?? '',
    roles: facts.roles,
    isAdmin: facts.roles.includes('admin'),
    requestId: request.id,
  }
}
