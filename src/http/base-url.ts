import type { FastifyRequest } from 'fastify'
import type { Cloud } from '../cloud.ts'

/** A host name or address with an optional port; anything else in a Host header stays out of our links. */
const HOST = /^(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(:\d{1,5})?$/i

/**
 * Scheme and host that the links of the answer begin with: the configured ones, or those that the request came to. Novella
 * speaks no TLS, so only a header can tell that a proxy does. Like `Host` it is the caller's word, and changes nothing
 * but the caller's own answer.
 */
export function baseUrl(cloud: Pick<Cloud, 'config'>, request: Pick<FastifyRequest, 'headers'>): string {
  if (cloud.config.publicUrl !== '') return cloud.config.publicUrl.replace(/\/+$/, '')
  const { host = '', 'x-forwarded-proto': scheme } = request.headers
  return `${scheme === 'https' ? 'https' : 'http'}://${HOST.test(host) ? host : cloud.config.listen}`
}
