/**
 * The volume service is spoken twice: as Cinder has it below `/volume/v3`, with a project in the path or without, and as
 * UOS has it at the root, without microversions.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { type Static, type TSchema, Type } from 'typebox'
import type { Cloud } from '../cloud.ts'
import { ApiError } from '../http/api-error.ts'
import type { App } from '../http/app.ts'
import type { Caller, Operation } from '../http/policy.ts'
import { NEWEST_MINOR, readVolumeVersion, VERSION_HEADER } from './volume-version.ts'

export type VolumeDialect = 'cinder' | 'uos'

/** The query of a request, member by member. */
export type VolumeQuery = Record<string, string | string[] | undefined>

/** What a handler is given. */
export interface VolumeCall<Body = unknown> {
  cloud: Cloud
  caller: Caller
  dialect: VolumeDialect
  /** The minor version of 3 that the caller speaks; the newest for UOS. */
  version: number
  /** Epoch milliseconds. */
  now: number
  body: Body
  query: VolumeQuery
  params: Record<string, string>
  request: FastifyRequest
  reply: FastifyReply
}

export interface VolumeRoute<Body extends TSchema = TSchema> {
  method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** Below the project, with a slash at the front. */
  path: string
  operation: Operation
  /** Below this minor version there is no such path. */
  since?: number
  /** Also at the root, as UOS has it. */
  isUos?: true
  /** Of an answer that the handler does not send itself; 200 when left out. */
  status?: number
  body?: Body
  /** What the handler returns is sent, unless it has sent something itself. */
  handle(call: VolumeCall<Static<Body>>): Promise<unknown>
}

const PLACES = [
  { prefix: '/volume/v3/:projectId', dialect: 'cinder' },
  { prefix: '/volume/v3', dialect: 'cinder' },
  { prefix: '/v2/:projectId', dialect: 'uos' },
] as const

/** Registers a route everywhere it is spoken. */
export function volumeRoute<Body extends TSchema>(app: App, cloud: Cloud, route: VolumeRoute<Body>): void {
  const { since = 0, status = 200 } = route
  for (const { prefix, dialect } of PLACES) {
    if (dialect === 'uos' && !route.isUos) continue
    const url = prefix + route.path
    app.route({
      method: route.method,
      exposeHeadRoute: false,
      url,
      schema: { params: paramsOf(url), ...(route.body ? { body: route.body } : {}) },
      config: { operation: route.operation },
      // Before the body is looked at: what is wrong with that is told in the version asked for.
      onRequest: async (request, reply) => {
        if (dialect === 'uos') return
        reply.header('vary', VERSION_HEADER)
        const version = readVolumeVersion(request.headers['openstack-api-version'])
        reply.header(VERSION_HEADER.toLowerCase(), `volume 3.${version}`)
        demandVersion({ version }, since)
      },
      handler: async (request, reply) => {
        const call: VolumeCall = {
          cloud,
          caller: request.caller,
          dialect,
          version: dialect === 'uos' ? NEWEST_MINOR : readVolumeVersion(request.headers['openstack-api-version']),
          now: cloud.clock.now(),
          body: request.body,
          query: request.query as VolumeQuery,
          params: request.params as Record<string, string>,
          request,
          reply,
        }
        const answer = await route.handle(call as VolumeCall<Static<Body>>)
        return reply.sent ? reply : reply.code(status).send(answer)
      },
    })
  }
}

const paramsOf = (url: string): TSchema =>
  Type.Object(Object.fromEntries([...url.matchAll(/:(\w+)/g)].map(([, name]) => [name ?? '', Type.String()])))

/** @throws ApiError itemNotFound when the caller speaks an older version: it knows no such thing. */
export function demandVersion({ version }: Pick<VolumeCall, 'version'>, since: number): void {
  if (version >= since) return
  throw new ApiError('itemNotFound', `Version 3.${version} has no such method; it came with 3.${since}.`)
}

/** One value of the query; the first when it is there several times. */
export const single = (query: VolumeQuery, name: string): string | undefined => [query[name] ?? []].flat()[0]

/** A flag of the query as OpenStack reads flags: without a value it is true. @throws ApiError badRequest. */
export function readFlag(query: VolumeQuery, name: string): boolean {
  const value = single(query, name)
  if (value === undefined) return false
  if (/^(1|t|true|on|y|yes|)$/i.test(value)) return true
  if (/^(0|f|false|off|n|no)$/i.test(value)) return false
  throw new ApiError('badRequest', `${name} must be true or false, not '${value}'.`)
}

/** `self` and `bookmark` of a thing, in the dialect of the caller. */
export function volumeLinks({ dialect, request, caller }: VolumeCall, collection: string, id: string) {
  if (dialect === 'uos') return request.links.both(collection, id)
  const below = `${caller.projectId}/${collection}/${id}`
  return [
    { rel: 'self', href: `${request.links.base}/volume/v3/${below}` },
    { rel: 'bookmark', href: `${request.links.base}/volume/${below}` },
  ]
}
