import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type { Cloud } from '../cloud.ts'
import { ApiError } from '../http/api-error.ts'
import type { App } from '../http/app.ts'
import { baseUrl } from '../http/base-url.ts'
import type { Place } from './catalog.ts'
import { catalogView } from './catalog.ts'
import { authenticateWish } from './log-in.ts'
import { readAuth, readV2Auth } from './token-request.ts'
import { CatalogAnswer, IssueTokenRequest, IssueTokenV2Request, ListLinks, TokenAnswer } from './token-schema.ts'
import type { TokenFacts } from './token-store.ts'
import { describeToken, projectView, tokenV2View, tokenView } from './token-view.ts'
import { listProjectsOf } from './user-store.ts'
import { identityVersion } from './version-view.ts'

/** Identity v3 at its two places, its version documents, and the tokens of v2.0. */
export function identityRoutes(app: App, cloud: Cloud): void {
  app.addHook('onRequest', async (_request, reply) => {
    // An answer is for one token; no cache between may give it to another.
    reply.header('vary', 'X-Auth-Token')
  })
  app.addHook('onSend', async (request, reply) => {
    if (reply.statusCode === 401) reply.header('www-authenticate', `Keystone uri="${baseUrl(cloud, request)}/identity"`)
  })
  versionRoutes(app, cloud)
  tokenV2Routes(app, cloud)
  // At the root for UOS clients, which drop the path of the catalogue's URL; below /identity for all others.
  for (const prefix of ['/v3', '/identity/v3']) {
    tokenRoutes(app, cloud, prefix)
    scopeRoutes(app, cloud, prefix)
  }
}

function versionRoutes(app: App, cloud: Cloud): void {
  app.get('/identity', { config: { isPublic: true } }, async (request, reply) => {
    const url = `${baseUrl(cloud, request)}/identity/v3/`
    return reply
      .code(300)
      .header('location', url)
      .send({ versions: { values: [identityVersion(url)] } })
  })
  for (const prefix of ['/v3', '/identity/v3']) {
    app.get(prefix, { config: { isPublic: true } }, async (request) => ({
      version: identityVersion(`${baseUrl(cloud, request)}${prefix}/`),
    }))
  }
}

function tokenRoutes(app: App, cloud: Cloud, prefix: string): void {
  app.post(
    `${prefix}/auth/tokens`,
    { schema: { body: IssueTokenRequest, response: { 201: TokenAnswer } }, config: { isPublic: true } },
    async (request, reply) => {
      const { token, facts } = await authenticateWish(cloud, readAuth(request.body.auth), request.ip)
      return reply
        .code(201)
        .header('x-subject-token', token)
        .send(await viewOf(cloud, request, facts))
    },
  )
  app.get(
    `${prefix}/auth/tokens`,
    { schema: { response: { 200: TokenAnswer } }, config: { operation: 'tokens:read' } },
    async (request, reply) => {
      const { token, facts } = await findSubject(cloud, request)
      return reply.header('x-subject-token', token).send(await viewOf(cloud, request, facts))
    },
  )
  app.delete(`${prefix}/auth/tokens`, { config: { operation: 'tokens:revoke' } }, async (request, reply) => {
    const { facts } = await findSubject(cloud, request)
    await cloud.db.transaction((tx) => cloud.tokens.revoke(tx, facts.hash))
    return reply.code(204).send()
  })
}

function scopeRoutes(app: App, cloud: Cloud, prefix: string): void {
  const linksTo = (self: string) => ({ self, next: null, previous: null })
  app.get(
    `${prefix}/auth/catalog`,
    {
      schema: {
        response: { 200: Type.Object({ catalog: CatalogAnswer, links: ListLinks }) },
      },
      config: { operation: 'catalog:read' },
    },
    async (request) => {
      const { projectId } = request.token
      if (projectId === null)
        throw new ApiError('forbidden', 'A token that is not scoped to a project has no catalogue.')
      const place = placeOf(cloud, request)
      return { catalog: catalogView(place, projectId), links: linksTo(`${place.base}${prefix}/auth/catalog`) }
    },
  )
  app.get(`${prefix}/auth/projects`, { config: { operation: 'tokens:read' } }, async (request) => {
    const { base } = placeOf(cloud, request)
    const projects = await listProjectsOf(cloud.db.read, request.token.userId)
    return {
      projects: projects.map((project) => projectView(project, `${base}${prefix}/projects/${project.id}`)),
      links: linksTo(`${base}${prefix}/auth/projects`),
    }
  })
  // Roles are given on projects only, so there is no domain and no system that a token could be scoped to.
  app.get(`${prefix}/auth/domains`, { config: { operation: 'tokens:read' } }, async (request) => ({
    domains: [],
    links: linksTo(`${placeOf(cloud, request).base}${prefix}/auth/domains`),
  }))
  app.get(`${prefix}/auth/system`, { config: { operation: 'tokens:read' } }, async (request) => ({
    system: [],
    links: linksTo(`${placeOf(cloud, request).base}${prefix}/auth/system`),
  }))
}

function tokenV2Routes(app: App, cloud: Cloud): void {
  app.post(
    '/v2.0/tokens',
    { schema: { body: IssueTokenV2Request }, config: { isPublic: true } },
    async (request, reply) => {
      const { token, facts } = await authenticateWish(cloud, readV2Auth(request.body.auth), request.ip)
      return reply.send(tokenV2View(token, await describeToken(cloud.db.read, facts), placeOf(cloud, request)))
    },
  )
}

/**
 * The token that `X-Subject-Token` names: the caller's own, another one of the same user, or, for an admin, any.
 * @throws ApiError badRequest without the header; itemNotFound when it is no valid token, or not the caller's business.
 */
async function findSubject(cloud: Cloud, request: FastifyRequest): Promise<{ token: string; facts: TokenFacts }> {
  const token = request.headers['x-subject-token']
  if (typeof token !== 'string' || token === '')
    throw new ApiError('badRequest', 'The header X-Subject-Token is missing.')
  const facts = await cloud.tokens.find(cloud.db.read, token, cloud.clock.now())
  if (!facts || (facts.userId !== request.caller.userId && !request.caller.isAdmin)) {
    throw new ApiError('itemNotFound', 'There is no such token.')
  }
  return { token, facts }
}

async function viewOf(cloud: Cloud, request: FastifyRequest, facts: TokenFacts): Promise<TokenAnswer> {
  const isWithCatalog = !Object.hasOwn(request.query as object, 'nocatalog')
  return tokenView(await describeToken(cloud.db.read, facts), isWithCatalog ? placeOf(cloud, request) : undefined)
}

const placeOf = (cloud: Cloud, request: FastifyRequest): Place => ({
  base: baseUrl(cloud, request),
  region: cloud.config.region,
})
