import type { FastifyRequest } from 'fastify'
import type { Cloud } from '../cloud.ts'

/** A host name or address with an optional port; anything else in a Host header stays out of our links. */
const HOST = /^(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(:\d{1,5})?$/i

/** Scheme and host that the links of the answer begin with: the configured one, or where the request came to. */
export function baseUrl(cloud: Cloud, request: FastifyRequest): string {
  if (cloud.config.publicUrl !== '') return cloud.config.publicUrl.replace(/\/+$/, '')
  const host = request.headers.host ?? ''
  return `${request.protocol}://${HOST.test(host) ? host : cloud.config.listen}`
}
