import type { FastifyError } from 'fastify'
import type { Cloud } from '../cloud.ts'
import { ApiError, serviceOf, toFault } from './api-error.ts'
import type { App } from './app.ts'
import { authenticate } from './token-auth.ts'

/** Turns every failure of the app into an answer: the one place that calls `toFault`. */
export function answerFaults(app: App, cloud: Cloud): void {
  const routes: { pattern: RegExp; method: string }[] = []
  app.addHook('onRoute', ({ url, method }) => {
    const pattern = new RegExp(
      `^${url
        .replace(/[.+?^$()|[\]\\]/g, '\\$&')
        .replace(/:[A-Za-z]+/g, '[^/]+')
        .replace('*', '.*')}/?$`,
    )
    for (const one of [method].flat()) routes.push({ pattern, method: one })
  })

  app.setErrorHandler((error: FastifyError, request, reply) => {
    const known = toApiError(error)
    const answer = toFault(known, serviceOf(request.url))
    if (answer.status >= 500) request.log.error({ err: error }, 'a request failed')
    else request.log.debug({ err: error }, 'a request was refused')
    return reply.code(answer.status).headers(answer.headers).send(answer.body)
  })

  app.setNotFoundHandler(async (request) => {
    const path = request.url.split('?', 1)[0] ?? ''
    // Who has no token learns nothing about which paths exist.
    if (/^\/(v2|compute|image|network|volume)(\/|$)/.test(path)) await authenticate(cloud, request)
    const allowed = [...new Set(routes.filter((route) => route.pattern.test(path)).map((route) => route.method))]
    if (allowed.length > 0 && !allowed.includes(request.method)) {
      throw new ApiError('badMethod', `${path} takes ${allowed.join(', ')}, not ${request.method}.`, {
        headers: { allow: allowed.join(', ') },
      })
    }
    throw new ApiError('itemNotFound', 'The resource could not be found.')
  })
}

function toApiError(error: FastifyError): unknown {
  if (error instanceof ApiError) return error
  if (error.validation) return new ApiError('badRequest', describeValidation(error), { cause: error })
  switch (error.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new ApiError('overLimit', 'The body is larger than 1 MiB.')
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new ApiError('badMediaType', 'Send the body as Content-Type: application/json.')
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return new ApiError('badRequest', 'Content-Length does not fit the body.')
    case 'FST_ERR_BAD_URL':
      return new ApiError('badRequest', 'The path is not a valid URL path.')
    default:
      // Errors of the HTTP layer itself say with `statusCode` that they are the caller's.
      if (error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500) {
        return new ApiError('badRequest', 'The request is malformed.', { cause: error })
      }
      return error
  }
}

/** `server.name: must be string`, of the first thing that is wrong. */
function describeValidation(error: FastifyError): string {
  const [first] = error.validation ?? []
  const where = (first?.instancePath ?? '').slice(1).replaceAll('/', '.')
  const place = where === '' ? `The ${error.validationContext ?? 'request'}` : `'${where}'`
  const missing = (first?.params as { missingProperty?: string } | undefined)?.missingProperty
  if (missing !== undefined) return `${place} lacks the member '${missing}'.`
  return `${place} ${first?.message ?? 'is not valid'}.`
}
