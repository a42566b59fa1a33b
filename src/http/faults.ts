import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import type { Cloud } from '../cloud.ts'
import type { Outage } from '../db/database-outage.ts'
import { ApiError, serviceOf, toFault } from './api-error.ts'
import type { App } from './app.ts'
import { authenticate } from './token-auth.ts'

/** What callers read while the database cannot work; who runs Novella reads it, too. */
const OUTAGES: Record<Outage, string> = {
  full: "The disk of Novella's data directory is full. Free some space on it and try again.",
  unreachable: 'The database does not answer. Try again when it is back.',
}

/** What is found out to be full without the database. */
export const diskFull = (): ApiError => new ApiError('serviceUnavailable', OUTAGES.full)

/** Makes the answer to the failure of a request, and logs it; what never became one is answered in malformed.ts. */
export const faultAnswerer =
  ({ db }: Pick<Cloud, 'db'>) =>
  (error: FastifyError, request: Pick<FastifyRequest, 'url' | 'log'>, reply: Pick<FastifyReply, 'code'>) => {
    const outage = db.outageOf(error)
    const known = outage ? new ApiError('serviceUnavailable', OUTAGES[outage], { cause: error }) : toApiError(error)
    const answer = toFault(known, serviceOf(request.url))
    if (answer.status >= 500) request.log.error({ err: error }, 'a request failed')
    else request.log.debug({ err: error }, 'a request was refused')
    return reply.code(answer.status).headers(answer.headers).send(answer.body)
  }

/** Turns every failure of the app into an answer. */
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

  app.setErrorHandler(faultAnswerer(cloud))

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
    case 'FST_ERR_MAX_PARAM_LENGTH':
      // Nothing of ours has an id or a name that long.
      return new ApiError('itemNotFound', 'The resource could not be found.')
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
