import { ApiError } from './api-error.ts'
import type { App } from './app.ts'

const JSON_TYPE = /^application\/(json|vnd\.openstack\.[a-z]+\+json|openstack-images-v2\.[01]-json-patch)\s*(;|$)/i

/**
 * Takes JSON bodies as Nova does: also under its vendor types, as plain text, and without any type. An empty body is
 * no body, whatever type it claims, since clients label their DELETEs too.
 */
export function acceptBodies(app: App): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'string' }, (request, body, done) => {
    const type = request.headers['content-type'] ?? ''
    if (body === '') return done(null, undefined)
    if (type !== '' && !JSON_TYPE.test(type) && !/^text\/plain\s*(;|$)/i.test(type)) {
      return done(new ApiError('badMediaType', `Send the body as Content-Type: application/json, not ${type}.`))
    }
    try {
      done(null, JSON.parse(String(body), refuseTraps))
    } catch (error) {
      // Without its cause, which quotes the body and would bring a password into the log.
      done(error instanceof ApiError ? error : new ApiError('badRequest', 'The body is not valid JSON.'))
    }
  })
}

/**
 * A member named `__proto__` would change what objects inherit, further down; a NUL character is what PostgreSQL
 * cannot store and what C programs take for the end of a text.
 */
function refuseTraps(key: string, value: unknown): unknown {
  if (key === '__proto__') throw new ApiError('badRequest', "The body has a member named '__proto__'.")
  if (key.includes('\0') || (typeof value === 'string' && value.includes('\0'))) {
    throw new ApiError('badRequest', `'${key.replaceAll('\0', '')}' must have no NUL character.`)
  }
  return value
}

/**
 * The same for what stands in a URL: nothing has a NUL in its id or name.
 * @throws ApiError badRequest when the query has one; itemNotFound when the path has.
 */
export function refuseNul(url: string): void {
  if (!url.includes('%00')) return
  const [path = '', query = ''] = url.split(/\?(.*)/s)
  if (path.includes('%00')) throw new ApiError('itemNotFound', 'The resource could not be found.')
  const key = query.split('&').find((part) => part.includes('%00'))
  throw new ApiError('badRequest', `'${key?.split('=', 1)[0]}' must have no NUL character.`)
}
