import { Type } from 'typebox'
import type { Reader, Tx } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { Caller } from '../http/policy.ts'
import { newId } from '../lib/ids.ts'
import { attribute, flag, nullable, text } from '../network-api/attributes.ts'
import { filterValues } from '../network-api/list-query.ts'
import { networkError } from '../network-api/network-errors.ts'
import { assertNetworkQuota } from '../network-api/network-quotas.ts'
import { type ResourceCall, resource, type Wanted } from '../network-api/resource.ts'
import { readTags } from '../network-api/tag-store.ts'
import { deletePorts } from '../ports/delete-ports.ts'
import { assertReachable, readRoutes } from './extra-routes.ts'
import { type GatewayWish, setGateway } from './router-gateway.ts'
import { holdRouter, listEnds, updateRouter } from './router-store.ts'
import { routerView, type ShownRouter, uosRouterView } from './router-view.ts'

const Gateway = Type.Object(
  {
    network_id: Type.Optional(Type.Union([Type.String({ maxLength: 36 }), Type.Null()])),
    enable_snat: Type.Optional(Type.Union([Type.Boolean(), Type.String({ pattern: '^([Tt]rue|[Ff]alse|0|1)$' })])),
    external_fixed_ips: Type.Optional(
      Type.Array(
        Type.Object(
          {
            subnet_id: Type.Optional(Type.String({ maxLength: 36 })),
            ip_address: Type.Optional(Type.String({ maxLength: 64 })),
          },
          { additionalProperties: false },
        ),
        { maxItems: 5 },
      ),
    ),
  },
  { additionalProperties: false },
)

/** What a body says of routes. */
export const ROUTES = attribute(
  Type.Array(
    Type.Object(
      { destination: Type.String({ maxLength: 64 }), nexthop: Type.String({ maxLength: 64 }) },
      { additionalProperties: false },
    ),
    { maxItems: 1_000 },
  ),
)

const common = {
  name: text(),
  description: text(),
  admin_state_up: flag(),
  external_gateway_info: nullable(attribute(Gateway)),
  distributed: flag(),
  ha: flag(),
}

/** N14 to N18, and delete. */
export const routerResource = resource({
  singular: 'router',
  plural: 'routers',
  title: 'Router',
  notFound: 'RouterNotFound',
  read: 'network:read',
  write: 'network:write',
  list: listRouters,
  neutronView: routerView,
  uosView: uosRouterView,
  create: {
    shape: {
      singular: 'router',
      attributes: {
        ...common,
        availability_zone_hints: attribute(Type.Array(Type.String({ maxLength: 255 }), { maxItems: 10 })),
        flavor_id: attribute(Type.Null()),
      },
      aliases: { admin_stat_up: 'admin_state_up' },
      readOnly: ['id', 'status', 'routes'],
    },
    async run(call, tx, wish, projectId) {
      assertPlain(wish)
      await assertNetworkQuota(tx, projectId, 'router')
      const id = newId()
      const isUp = wish.admin_state_up !== false
      await tx
        .insertInto('routers')
        .values({
          id,
          projectId,
          name: wish.name ?? '',
          description: wish.description ?? '',
          isUp: isUp ? 1 : 0,
          status: isUp ? 'ACTIVE' : 'DOWN',
          externalNetworkId: null,
          hasSnat: 1,
          routes: '[]',
          availabilityZoneHints: JSON.stringify(wish.availability_zone_hints ?? []),
          createdAt: call.now,
          updatedAt: call.now,
        })
        .execute()
      if (wish.external_gateway_info) await changeGateway(call, tx, id, wish.external_gateway_info)
      call.cloud.networkChanges.note(tx, { kind: 'router', id })
      return id
    },
  },
  update: {
    shape: {
      singular: 'router',
      attributes: { ...common, routes: nullable(ROUTES) },
      aliases: { admin_stat_up: 'admin_state_up' },
      readOnly: ['id', 'status', 'tenant_id', 'project_id'],
    },
    async run(call, tx, { id }: ShownRouter, change) {
      assertPlain(change)
      if (change.external_gateway_info !== undefined) await changeGateway(call, tx, id, change.external_gateway_info)
      const routes = change.routes === undefined ? undefined : readRoutes(change.routes ?? [])
      if (routes) {
        const { ends } = await holdRouter(tx, id, call.now)
        assertReachable(
          routes,
          ends.flatMap(({ addresses }) => addresses),
        )
      }
      await updateRouter(
        tx,
        id,
        {
          ...(change.name === undefined ? {} : { name: change.name }),
          ...(change.description === undefined ? {} : { description: change.description }),
          ...(change.admin_state_up === undefined ? {} : { isUp: change.admin_state_up ? 1 : 0 }),
          ...(routes === undefined ? {} : { routes: JSON.stringify(routes) }),
        },
        call.now,
      )
      call.cloud.networkChanges.note(tx, { kind: 'router', id })
    },
  },
  async remove({ cloud, now }, tx, { id }: ShownRouter) {
    const { ends } = await holdRouter(tx, id, now)
    if (ends.some(({ isGateway }) => !isGateway)) {
      throw networkError('RouterInUse', `Router ${id} still has interfaces.`)
    }
    await cloud.networkChanges.noteLeaving(tx, { kind: 'router', id })
    await deletePorts(
      cloud,
      tx,
      ends.map(({ portId }) => portId),
    )
    await tx.deleteFrom('routers').where('id', '=', id).execute()
  },
})

async function changeGateway({ cloud, caller, now }: ResourceCall, tx: Tx, id: string, wish: GatewayWish | null) {
  const { router, ends } = await holdRouter(tx, id, now)
  await setGateway(cloud, tx, caller, router, ends, wish)
}

/** There is one kind of router: not spread over hosts, not doubled. @throws ApiError BadRequest. */
function assertPlain({ distributed, ha }: { distributed?: boolean; ha?: boolean }): void {
  if (distributed || ha) throw networkError('BadRequest', 'Routers are neither distributed nor ha here.')
}

/** The project's routers (for an admin everybody's), oldest first. */
async function listRouters(read: Reader, caller: Caller, { ids, query = {} }: Wanted): Promise<ShownRouter[]> {
  const wanted = ids ?? filterValues(query, 'id')
  const rows = await read
    .selectFrom('routers')
    .selectAll()
    .$if(!caller.isAdmin, (all) => all.where('projectId', '=', caller.projectId))
    .$if(wanted !== undefined, (all) => all.where('id', 'in', wanted ?? []))
    .orderBy('createdAt')
    .orderBy('id')
    .execute()
  const routerIds = rows.map(({ id }) => id)
  const [ends, forwardings, tags] = await Promise.all([
    listEnds(read, routerIds),
    listOwnForwardings(read, wanted === undefined ? undefined : routerIds),
    readTags(read, routerIds),
  ])
  const gateways = new Map(ends.filter(({ isGateway }) => isGateway).map((end) => [end.routerId, end]))
  const forwardingsOf = Map.groupBy(forwardings, ({ routerId }) => routerId)
  return rows.map((row) => ({
    ...row,
    gateway: gateways.get(row.id),
    portForwardings: forwardingsOf.get(row.id) ?? [],
    tags: tags.get(row.id) ?? [],
    availabilityZone: 'nova',
  }))
}

/** Forwardings of routers' own gateway addresses; of all routers when undefined. */
async function listOwnForwardings(read: Reader, routerIds: string[] | undefined): Promise<Row<'portForwardings'>[]> {
  if (routerIds?.length === 0) return []
  return read
    .selectFrom('portForwardings')
    .selectAll()
    .where('floatingIpId', 'is', null)
    .$if(routerIds !== undefined, (all) => all.where('routerId', 'in', routerIds ?? []))
    .orderBy('createdAt')
    .orderBy('id')
    .execute()
}
