/** `floatingips/{id}/port_forwardings`, as Neutron has them. */
import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type { Cloud } from '../cloud.ts'
import type { Reader } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { App } from '../http/app.ts'
import { sendOnce } from '../http/once.ts'
import {
  attribute,
  bodySchema,
  integer,
  readEnvelope,
  readValues,
  text,
  type Values,
} from '../network-api/attributes.ts'
import { type Query, selectPage, trim } from '../network-api/list-query.ts'
import { networkError } from '../network-api/network-errors.ts'
import type { ResourceCall } from '../network-api/resource.ts'
import { findOwned, findVisible, networkRoute } from '../network-api/resource-routes.ts'
import { floatingIpResource } from './floating-ip-resource.ts'
import type { ShownFloatingIp } from './floating-ip-view.ts'
import {
  addForwarding,
  changeForwarding,
  type ForwardingWish,
  listForwardings,
  removeForwarding,
} from './forwarding-store.ts'
import { forwardingView } from './forwarding-view.ts'

const SINGULAR = 'port_forwarding'
const Ids = Type.Object({ id: Type.String() })
const BothIds = Type.Object({ id: Type.String(), forwardingId: Type.String() })

const attributes = {
  internal_port_id: text(36),
  internal_ip_address: text(64),
  internal_port: integer(1, 65_535),
  external_port: integer(1, 65_535),
  protocol: attribute(Type.String({ pattern: '^([Tt][Cc][Pp]|[Uu][Dd][Pp])$', description: 'tcp or udp' })),
  description: text(),
}
const CREATE = {
  singular: SINGULAR,
  attributes,
  required: ['internal_port_id', 'internal_port', 'external_port', 'protocol'] as const,
}
const CHANGE = { singular: SINGULAR, attributes, readOnly: ['id'] }

export function forwardingRoutes(app: App, cloud: Cloud): void {
  const path = '/floatingips/:id/port_forwardings'
  const one = `${path}/:forwardingId`
  const { db } = cloud

  networkRoute(app, cloud, {
    method: 'GET',
    path,
    params: Ids,
    operation: 'network:read',
    async handle(call, request) {
      const { id } = await visible(db.read, call, request)
      const query = request.query as Query
      const { items } = selectPage((await listForwardings(db.read, id)).map(forwardingView), query)
      return { port_forwardings: items.map((item) => trim(item, query)) }
    },
  })
  networkRoute(app, cloud, {
    method: 'GET',
    path: one,
    params: BothIds,
    operation: 'network:read',
    async handle(call, request) {
      const { id } = await visible(db.read, call, request)
      return { [SINGULAR]: forwardingView(await findForwarding(db.read, id, request)) }
    },
  })
  networkRoute(app, cloud, {
    method: 'POST',
    path,
    params: Ids,
    body: bodySchema(CREATE),
    operation: 'network:write',
    async handle(call, request, reply) {
      const { given } = readEnvelope(request.body, SINGULAR)
      const wish = readValues(given[0], CREATE, call.dialect)
      await sendOnce(cloud, request, reply, 201, async (tx) => {
        const floatingIp = await owned(tx, call, request)
        const { insidePortId = '', insidePort = 0, outsidePort = 0, protocol = 'tcp', ...rest } = wishOf(wish)
        const whole = { description: '', ...rest, insidePortId, insidePort, outsidePort, protocol }
        const forwarding = await addForwarding(cloud, tx, floatingIp, whole, call.now)
        return { [SINGULAR]: forwardingView(forwarding) }
      })
    },
  })
  networkRoute(app, cloud, {
    method: 'PUT',
    path: one,
    params: BothIds,
    body: bodySchema(CHANGE),
    operation: 'network:write',
    async handle(call, request) {
      const { given } = readEnvelope(request.body, SINGULAR)
      const change = wishOf(readValues(given[0], CHANGE, call.dialect))
      return db.transaction(async (tx) => {
        const floatingIp = await owned(tx, call, request)
        const forwarding = await findForwarding(tx, floatingIp.id, request)
        const changed = await changeForwarding(cloud, tx, floatingIp, forwarding, change, call.now)
        return { [SINGULAR]: forwardingView(changed) }
      })
    },
  })
  networkRoute(app, cloud, {
    method: 'DELETE',
    path: one,
    params: BothIds,
    operation: 'network:write',
    async handle(call, request, reply) {
      await db.transaction(async (tx) => {
        const floatingIp = await owned(tx, call, request)
        const forwarding = await findForwarding(tx, floatingIp.id, request)
        await removeForwarding(cloud, tx, floatingIp, forwarding, call.now)
      })
      return reply.code(204).send()
    },
  })
}

/** Only what the body had. */
function wishOf(given: Values<typeof attributes>): Partial<ForwardingWish> {
  const wish: Partial<ForwardingWish> = {}
  if (given.internal_port_id !== undefined) wish.insidePortId = given.internal_port_id
  if (given.internal_ip_address !== undefined) wish.insideAddress = given.internal_ip_address
  if (given.internal_port !== undefined) wish.insidePort = given.internal_port
  if (given.external_port !== undefined) wish.outsidePort = given.external_port
  if (given.protocol !== undefined) wish.protocol = /udp/i.test(given.protocol) ? 'udp' : 'tcp'
  if (given.description !== undefined) wish.description = given.description
  return wish
}

const idOf = (request: FastifyRequest): string => (request.params as { id: string }).id

const visible = (read: Reader, call: ResourceCall, request: FastifyRequest): Promise<ShownFloatingIp> =>
  findVisible(floatingIpResource, read, call, idOf(request))

/** The row alone: what is shown besides is no column. */
async function owned(read: Reader, call: ResourceCall, request: FastifyRequest): Promise<Row<'floatingIps'>> {
  const { id } = await findOwned<ShownFloatingIp>(floatingIpResource, read, call, idOf(request))
  return read.selectFrom('floatingIps').selectAll().where('id', '=', id).executeTakeFirstOrThrow()
}

async function findForwarding(read: Reader, floatingIpId: string, request: FastifyRequest) {
  const { forwardingId } = request.params as { forwardingId: string }
  const forwarding = (await listForwardings(read, floatingIpId)).find(({ id }) => id === forwardingId)
  if (forwarding) return forwarding
  throw networkError('PortForwardingNotFound', `Port forwarding ${forwardingId} could not be found.`)
}
