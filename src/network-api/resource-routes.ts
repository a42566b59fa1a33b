/** The routes of one resource of the network API: list, show, create, update, delete, in both dialects. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { type TSchema, Type } from 'typebox'
import type { Cloud } from '../cloud.ts'
import type { Reader, Tx } from '../db/database.ts'
import type { App } from '../http/app.ts'
import { sendOnce } from '../http/once.ts'
import type { Operation } from '../http/policy.ts'
import { type Attributes, bodySchema, readEnvelope, readValues, text } from './attributes.ts'
import { NETWORK_PREFIXES, type NetworkDialect } from './dialect.ts'
import { type Query, type Shown, selectPage, trim } from './list-query.ts'
import { networkError } from './network-errors.ts'
import { assertNetworkQuota } from './network-quotas.ts'
import type { AnyResource, Found, ResourceCall } from './resource.ts'
import { addTag, readTags, removeTag, replaceTags } from './tag-store.ts'

const Ids = Type.Object({ id: Type.String() })
/** What any create takes: whose it is (admins choose), and in Neutron a list of tags. */
const OWNER: Attributes = { tenant_id: text(), project_id: text() }

export interface NetworkRoute {
  method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** Below `/v2.0`, with a slash at the front. */
  path: string
  operation: Operation
  /** For the API's document; bodies are read by `readValues`. */
  body?: TSchema
  params?: TSchema
  handle(call: ResourceCall, request: FastifyRequest, reply: FastifyReply): Promise<unknown>
}

/** Registers a route in both dialects. What the handler returns is sent, unless it has sent something itself. */
export function networkRoute(app: App, cloud: Cloud, route: NetworkRoute): void {
  for (const { prefix, dialect } of NETWORK_PREFIXES) {
    app.route({
      method: route.method,
      exposeHeadRoute: false,
      url: prefix + route.path,
      schema: { ...(route.params ? { params: route.params } : {}), ...(route.body ? { body: route.body } : {}) },
      // The table of attributes reads bodies, with the service's own leniency and words; schemas are for the document.
      validatorCompiler: () => () => true,
      config: { operation: route.operation },
      handler: async (request, reply) => {
        const answer = await route.handle(callOf(cloud, request, dialect), request, reply)
        return reply.sent ? reply : reply.send(answer)
      },
    })
  }
}

const callOf = (cloud: Cloud, request: FastifyRequest, dialect: NetworkDialect): ResourceCall => ({
  cloud,
  caller: request.caller,
  dialect,
  now: cloud.clock.now(),
})

/** Registers all routes that a resource has. */
export function resourceRoutes(app: App, cloud: Cloud, resource: AnyResource): void {
  const { singular, plural, read, write, create, update, remove } = resource
  const path = `/${resource.path ?? plural}`
  const { db } = cloud

  networkRoute(app, cloud, {
    method: 'GET',
    path,
    operation: read,
    async handle(call, request) {
      const query = request.query as Query
      await resource.prepare?.(cloud, call.caller)
      const rows = await resource.list(db.read, call.caller, { query })
      const page = selectPage(
        rows.map((row) => view(resource, call, row)),
        query,
      )
      const links = page.links && pageLinks(request, page.links)
      return {
        [plural]: page.items.map((item) => trim(item, query)),
        ...(links && links.length > 0 ? { [`${plural}_links`]: links } : {}),
      }
    },
  })

  networkRoute(app, cloud, {
    method: 'GET',
    path: `${path}/:id`,
    params: Ids,
    operation: read,
    async handle(call, request) {
      await resource.prepare?.(cloud, call.caller)
      const row = await findVisible(resource, db.read, call, idOf(request))
      return { [singular]: trim(view(resource, call, row), request.query as Query) }
    },
  })

  if (create) {
    const shape = { ...create.shape, attributes: { ...create.shape.attributes, ...OWNER } }
    networkRoute(app, cloud, {
      method: 'POST',
      path,
      body: bodySchema(create.shape),
      operation: write,
      async handle(call, request, reply) {
        const { given, isBulk } = readEnvelope(request.body, singular, create.isBulk ? plural : undefined)
        const wishes = given.map((one) => readValues<Attributes>(one, shape, call.dialect))
        await sendOnce(cloud, request, reply, 201, async (tx) => {
          const shown: Shown[] = []
          for (const { tenant_id, project_id, ...wish } of wishes) {
            const projectId = ownerOf(call, project_id ?? tenant_id)
            if (create.quota !== undefined) await assertNetworkQuota(tx, projectId, create.quota)
            const id = await create.run(call, tx, wish, projectId)
            const [row] = await resource.list(tx, { ...call.caller, isAdmin: true }, { ids: [id] })
            shown.push(view(resource, call, row, true))
          }
          return isBulk ? { [plural]: shown } : { [singular]: shown[0] }
        })
      },
    })
  }

  if (update) {
    networkRoute(app, cloud, {
      method: 'PUT',
      path: `${path}/:id`,
      params: Ids,
      body: bodySchema(update.shape),
      operation: write,
      async handle(call, request) {
        const { given } = readEnvelope(request.body, singular)
        const change = readValues<Attributes>(given[0], update.shape, call.dialect)
        return db.transaction(async (tx) => {
          const row = await findOwned(resource, tx, call, idOf(request))
          assertRevision(request, view(resource, { ...call, dialect: 'neutron' }, row))
          await update.run(call, tx, row, change)
          const changed = await findVisible(resource, tx, call, row.id)
          return { [singular]: view(resource, call, changed) }
        })
      },
    })
  }

  if (remove) {
    networkRoute(app, cloud, {
      method: 'DELETE',
      path: `${path}/:id`,
      params: Ids,
      operation: write,
      async handle(call, request, reply) {
        await db.transaction(async (tx) => {
          const row = await findOwned(resource, tx, call, idOf(request))
          await remove(call, tx, row)
          await replaceTags(tx, row.id, [])
        })
        return reply.code(204).send()
      },
    })
  }

  tagRoutes(app, cloud, resource, path)
}

/** Words that owners put on their things; Neutron's only, but they do no harm at the root. */
function tagRoutes(app: App, cloud: Cloud, resource: AnyResource, path: string): void {
  const { db } = cloud
  const tagged = `${path}/:id/tags`
  const one = `${tagged}/:tag`
  const [read, write] = [resource.read, resource.write]
  const TagParams = Type.Object({ id: Type.String(), tag: Type.String() })
  const tagOf = (request: FastifyRequest) => readTag((request.params as { tag: string }).tag)
  const changing = (
    method: 'PUT' | 'DELETE',
    place: string,
    status: number,
    change: (tx: Tx, row: Found, request: FastifyRequest) => Promise<unknown>,
  ) =>
    networkRoute(app, cloud, {
      method,
      path: place,
      params: place === one ? TagParams : Ids,
      operation: write,
      handle: async (call, request, reply) => {
        const body = await db.transaction(async (tx) =>
          change(tx, await findOwned(resource, tx, call, idOf(request)), request),
        )
        return reply.code(status).send(body)
      },
    })

  networkRoute(app, cloud, {
    method: 'GET',
    path: tagged,
    params: Ids,
    operation: read,
    async handle(call, request) {
      const row = await findVisible(resource, db.read, call, idOf(request))
      return { tags: (await readTags(db.read, [row.id])).get(row.id) ?? [] }
    },
  })
  networkRoute(app, cloud, {
    method: 'GET',
    path: one,
    params: TagParams,
    operation: read,
    async handle(call, request, reply) {
      const row = await findVisible(resource, db.read, call, idOf(request))
      const tags = (await readTags(db.read, [row.id])).get(row.id) ?? []
      if (!tags.includes(tagOf(request))) throw noTag(tagOf(request))
      return reply.code(204).send()
    },
  })
  changing('PUT', tagged, 200, async (tx, row, request) => {
    const given = (request.body as { tags?: unknown } | null | undefined)?.tags
    if (!Array.isArray(given)) throw networkError('HTTPBadRequest', "Unable to find 'tags' in request body.")
    await replaceTags(tx, row.id, given.map(readTag))
    return { tags: (await readTags(tx, [row.id])).get(row.id) ?? [] }
  })
  changing('DELETE', tagged, 204, (tx, row) => replaceTags(tx, row.id, []))
  changing('PUT', one, 201, (tx, row, request) => addTag(tx, row.id, tagOf(request)))
  changing('DELETE', one, 204, async (tx, row, request) => {
    if (!(await removeTag(tx, row.id, tagOf(request)))) throw noTag(tagOf(request))
  })
}

function readTag(tag: unknown): string {
  if (typeof tag === 'string' && tag.length > 0 && tag.length <= 255 && !/[,/]/.test(tag)) return tag
  throw networkError('HTTPBadRequest', 'A tag is a text of 1 to 255 characters without comma and slash.')
}

const noTag = (tag: string) => networkError('TagNotFound', `Tag ${tag} could not be found.`)

/**
 * A thing the caller may see.
 * @throws ApiError the resource's own kind of 404, for another tenant's as for none at all.
 */
export async function findVisible<Row extends Found>(
  resource: Pick<AnyResource, 'list' | 'title' | 'notFound'>,
  read: Reader,
  { caller }: Pick<ResourceCall, 'caller'>,
  id: string,
): Promise<Row> {
  const rows: Row[] = await resource.list(read, caller, { ids: [id] })
  const row = rows.find((one) => one.id === id)
  if (row) return row
  throw networkError(resource.notFound, `${resource.title} ${id} could not be found.`)
}

/**
 * A thing the caller may change.
 * @throws ApiError as `findVisible`; PolicyNotAuthorized for what is only shared with the caller.
 */
export async function findOwned<Row extends Found>(
  resource: Pick<AnyResource, 'list' | 'title' | 'notFound' | 'singular'>,
  read: Reader,
  call: Pick<ResourceCall, 'caller'>,
  id: string,
): Promise<Row> {
  const row = await findVisible<Row>(resource, read, call, id)
  if (row.projectId === call.caller.projectId || call.caller.isAdmin) return row
  throw networkError('PolicyNotAuthorized', `${resource.title} ${id} belongs to another project; it can only be used.`)
}

const idOf = (request: FastifyRequest): string => (request.params as { id: string }).id

const view = (resource: AnyResource, { caller, dialect }: ResourceCall, row: Found, isCreated = false): Shown =>
  dialect === 'uos' ? resource.uosView(row, isCreated) : resource.neutronView(row, caller)

/** Whose a new thing is: the caller's project, or the one an admin names. */
function ownerOf({ caller }: ResourceCall, wished: unknown): string {
  if (wished === undefined || wished === '' || wished === caller.projectId) return caller.projectId
  if (caller.isAdmin) return String(wished)
  throw networkError('PolicyNotAuthorized', 'Only an admin makes things for another project.')
}

/** `If-Match: revision_number=3` makes a change only to the revision the caller has seen. */
function assertRevision(request: FastifyRequest, shown: Shown): void {
  const wanted = /^\s*"?revision_number=(\d+)"?\s*$/.exec(request.headers['if-match'] ?? '')?.[1]
  if (wanted === undefined || Number(wanted) === shown.revision_number) return
  throw networkError(
    'RevisionNumberConstraintFailed',
    `Constrained to ${wanted}, but current revision is ${shown.revision_number}.`,
  )
}

function pageLinks(
  request: FastifyRequest,
  links: { next: URLSearchParams | null; previous: URLSearchParams | null },
): { rel: string; href: string }[] {
  const url = request.links.base + (request.url.split('?', 1)[0] ?? '')
  return (['next', 'previous'] as const).flatMap((rel) =>
    links[rel] === null ? [] : [{ rel, href: `${url}?${links[rel]}` }],
  )
}
