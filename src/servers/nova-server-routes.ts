import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type { Cloud } from '../cloud.ts'
import { ApiError } from '../http/api-error.ts'
import type { App } from '../http/app.ts'
import type { Dialect } from '../http/dialect.ts'
import { sendKept } from '../http/kept-answers.ts'
import { sendOnce } from '../http/once.ts'
import { nextLink } from '../http/paging.ts'
import { actionRoute } from './action-route.ts'
import { acceptCreateServer, type Wish } from './create-server.ts'
import { acceptDeleteServer } from './delete-server.ts'
import { listServers } from './list-servers.ts'
import { NOVA_ACTIONS } from './nova-actions.ts'
import { NovaCreateRequest, NovaUpdateRequest } from './nova-server-schema.ts'
import { novaBriefView, novaFullView, novaUpdatedView } from './nova-server-view.ts'
import { type Query, readServerFilters } from './server-filters.ts'
import { getServer, type ShownServer, withCards } from './server-store.ts'
import { createdView, type ViewContext } from './server-view.ts'
import { updateServerDetails } from './update-server.ts'

const Params = Type.Object({ serverId: Type.String() })
const ListQuery = Type.Record(Type.String(), Type.Union([Type.String(), Type.Array(Type.String())]))
/** Hints that ask for a host by other servers; this cloud's scheduler does not read them, so they are not taken. */
const UNREAD_HINTS = ['group', 'different_host', 'same_host', 'query', 'build_near_host_ip', 'target_cell']

/** Servers as Nova v2.1 has them: the same handlers as S01 to S10, in another shape. */
export function novaServerRoutes(app: App, cloud: Cloud, dialect: Dialect): void {
  const { db } = cloud
  const servers = `${dialect.base}/servers`
  const viewOf = (request: FastifyRequest): ViewContext => ({
    links: request.links,
    isAdmin: request.caller.isAdmin,
    hypervisorSuffix: cloud.config.hypervisorSuffix,
  })
  const listPage = async (request: FastifyRequest, path: string, view: typeof novaFullView) => {
    const query = request.query as Query
    const filters = readServerFilters(query, request.caller)
    const page = await listServers(db, filters)
    const context = viewOf(request)
    const next = nextLink(request.links.url(path), query, page, filters.limit)
    const shown = (await withCards(db.read, page)).map((one) => view(one, context))
    return { servers: shown, ...(next ? { servers_links: next } : {}) }
  }

  app.post(
    servers,
    { schema: { body: NovaCreateRequest }, config: { operation: 'servers:create' } },
    async (request, reply) => {
      const { server, ...hints } = request.body
      assertHintsRead(hints)
      const wish = { ...server, return_reservation_id: isYes(server.return_reservation_id) } as Wish
      await sendOnce(cloud, request, reply, 202, async (tx) => {
        const created = await acceptCreateServer(cloud, tx, request.caller, wish)
        if (wish.return_reservation_id) return { reservation_id: created.reservationId }
        reply.header('location', request.links.url(`servers/${created.id}`))
        return { server: createdView(created, request.links) }
      })
      return reply
    },
  )

  app.get(servers, { schema: { querystring: ListQuery }, config: { operation: 'servers:read' } }, async (request) =>
    listPage(request, 'servers', novaBriefView),
  )
  app.get(
    `${servers}/detail`,
    { schema: { querystring: ListQuery }, config: { operation: 'servers:read' } },
    async (request) => listPage(request, 'servers/detail', novaFullView),
  )

  app.get(
    `${servers}/:serverId`,
    { schema: { params: Params }, config: { operation: 'servers:read' } },
    async (request, reply) => {
      await sendKept(cloud, request, reply, async () => ({
        server: novaFullView(await shownServer(request), viewOf(request)),
      }))
      return reply
    },
  )
  const shownServer = async ({ caller, params }: { caller: FastifyRequest['caller']; params: unknown }) => {
    const server = await getServer(db.read, caller, (params as { serverId: string }).serverId)
    return (await withCards(db.read, [server]))[0] as ShownServer
  }

  app.put(
    `${servers}/:serverId`,
    { schema: { params: Params, body: NovaUpdateRequest }, config: { operation: 'servers:update' } },
    async (request) => {
      await updateServerDetails(cloud, request.caller, request.params.serverId, request.body.server)
      return { server: novaUpdatedView(await shownServer(request), viewOf(request)) }
    },
  )

  app.delete(
    `${servers}/:serverId`,
    { schema: { params: Params }, config: { operation: 'servers:delete' } },
    async (request, reply) => {
      await acceptDeleteServer(cloud, request.caller, request.params.serverId)
      return reply.code(204).send()
    },
  )

  actionRoute(app, cloud, dialect, NOVA_ACTIONS)
}

const isYes = (flag: boolean | string | undefined): boolean =>
  flag === true || (typeof flag === 'string' && /^(true|1|on|yes)$/i.test(flag))

/** @throws ApiError badRequest for a hint that would be read where hosts are many. */
function assertHintsRead(bodies: Record<string, Record<string, unknown> | undefined>): void {
  for (const hints of Object.values(bodies)) {
    const hint = Object.keys(hints ?? {}).find((key) => UNREAD_HINTS.includes(key))
    if (hint === undefined) continue
    throw new ApiError('badRequest', `The scheduler hint '${hint}' is not offered by this cloud; leave it out.`)
  }
}
