import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type { Cloud } from '../cloud.ts'
import type { App } from '../http/app.ts'
import { UOS } from '../http/dialect.ts'
import { sendKept } from '../http/kept-answers.ts'
import { sendOnce } from '../http/once.ts'
import { nextLink } from '../http/paging.ts'
import { actionRoute } from './action-route.ts'
import { acceptCreateServer } from './create-server.ts'
import { acceptDeleteServer } from './delete-server.ts'
import { listServers } from './list-servers.ts'
import { ACTION_TABLE } from './server-actions.ts'
import { type Query, readServerFilters } from './server-filters.ts'
import {
  BriefListAnswer,
  CreatedAnswer,
  CreateServerRequest,
  FullAnswer,
  FullListAnswer,
  UpdatedAnswer,
  UpdateServerRequest,
} from './server-schema.ts'
import { getServer, withCards } from './server-store.ts'
import { briefView, createdView, fullView, updatedView, type ViewContext } from './server-view.ts'
import { updateServerDetails } from './update-server.ts'

const Params = Type.Object({ projectId: Type.String(), serverId: Type.String() })
const ListQuery = Type.Record(Type.String(), Type.Union([Type.String(), Type.Array(Type.String())]))

/** S01 to S10 and what else `POST …/action` takes. */
export function serverRoutes(app: App, cloud: Cloud): void {
  const { db } = cloud
  const viewOf = (request: FastifyRequest): ViewContext => ({
    links: request.links,
    isAdmin: request.caller.isAdmin,
    hypervisorSuffix: cloud.config.hypervisorSuffix,
  })
  const listPage = async (request: FastifyRequest, path: string) => {
    const query = request.query as Query
    const filters = readServerFilters(query, request.caller)
    const servers = await listServers(db, filters)
    return {
      shown: await withCards(db.read, servers),
      next: nextLink(request.links.url(path), query, servers, filters.limit),
    }
  }

  app.post(
    '/v2/:projectId/servers',
    {
      schema: { body: CreateServerRequest, response: { 202: CreatedAnswer } },
      config: { operation: 'servers:create' },
    },
    async (request, reply) => {
      const { server: wish } = request.body
      await sendOnce(cloud, request, reply, 202, async (tx) => {
        const created = await acceptCreateServer(cloud, tx, request.caller, wish)
        return wish.return_reservation_id
          ? { reservation_id: created.reservationId }
          : { server: createdView(created, request.links) }
      })
      return reply
    },
  )

  app.get(
    '/v2/:projectId/servers',
    { schema: { querystring: ListQuery, response: { 200: BriefListAnswer } }, config: { operation: 'servers:read' } },
    async (request, reply) => {
      const { shown, next } = await listPage(request, 'servers')
      const context = viewOf(request)
      return reply.send({ servers: shown.map((one) => briefView(one, context)), servers_links: next } as never)
    },
  )

  app.get(
    '/v2/:projectId/servers/detail',
    { schema: { querystring: ListQuery, response: { 200: FullListAnswer } }, config: { operation: 'servers:read' } },
    async (request, reply) => {
      const { shown, next } = await listPage(request, 'servers/detail')
      const context = viewOf(request)
      return reply.send({ servers: shown.map((one) => fullView(one, context)), servers_links: next } as never)
    },
  )

  app.get(
    '/v2/:projectId/servers/:serverId',
    { schema: { params: Params, response: { 200: FullAnswer } }, config: { operation: 'servers:read' } },
    async (request, reply) => {
      await sendKept(cloud, request, reply, async () => {
        const server = await getServer(db.read, request.caller, request.params.serverId)
        const [shown] = await withCards(db.read, [server])
        return { server: shown && fullView(shown, viewOf(request)) }
      })
      return reply
    },
  )

  app.put(
    '/v2/:projectId/servers/:serverId',
    {
      schema: { params: Params, body: UpdateServerRequest, response: { 200: UpdatedAnswer } },
      config: { operation: 'servers:update' },
    },
    async (request, reply) => {
      const { serverId } = request.params
      const server = await updateServerDetails(cloud, request.caller, serverId, request.body.server)
      const [shown] = await withCards(db.read, [server])
      return reply.send({ server: shown && updatedView(shown, viewOf(request)) } as never)
    },
  )

  app.delete(
    '/v2/:projectId/servers/:serverId',
    { schema: { params: Params }, config: { operation: 'servers:delete' } },
    async (request, reply) => {
      await acceptDeleteServer(cloud, request.caller, request.params.serverId)
      return reply.code(202).send()
    },
  )

  actionRoute(app, cloud, UOS, ACTION_TABLE)
}
