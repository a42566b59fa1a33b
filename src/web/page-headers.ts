import type { FastifyRequest } from 'fastify'
import type { Cloud } from '../cloud.ts'
import { baseUrl } from '../http/base-url.ts'

/**
 * Headers of everything a browser shows: only our own files run, nobody frames us, and no address travels on as a
 * referrer (a console's holds its token). The WebSocket is named too, since older Safaris do not count it as 'self'.
 */
export function pageHeaders(cloud: Cloud, request: FastifyRequest): Record<string, string> {
  const socket = baseUrl(cloud, request).replace(/^http/, 'ws')
  return {
    'content-security-policy': [
      "default-src 'none'",
      "script-src 'self'",
      "style-src 'self'",
      "img-src 'self' data:",
      `connect-src 'self' ${socket}`,
      "base-uri 'none'",
      "form-action 'self'",
      "frame-ancestors 'none'",
    ].join('; '),
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
  }
}
