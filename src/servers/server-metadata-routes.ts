import { Type } from 'typebox'
import type { Cloud } from '../cloud.ts'
import type { VmState } from '../db/schema.ts'
import { ApiError } from '../http/api-error.ts'
import type { App } from '../http/app.ts'
import { NOVA } from '../http/dialect.ts'
import type { Caller } from '../http/policy.ts'
import { assertMetadataQuota } from './server-metadata.ts'
import { Metadata } from './server-schema.ts'
import { assertUnlocked } from './server-state.ts'
import { getServer, updateServer } from './server-store.ts'

const OfServer = Type.Object({ serverId: Type.String() })
const OfKey = Type.Object({ ...OfServer.properties, key: Type.String() })
const All = Type.Object({ metadata: Metadata })
const One = Type.Object({ meta: Type.Record(Type.String(), Type.String({ maxLength: 255 })) })

type Items = Record<string, string>

/** Where notes may be changed. */
const SETTLED: readonly VmState[] = ['active', 'paused', 'suspended', 'stopped']

/** What users note about a server, which its guest can read. Source: shared/spec/nova-v21.md, section 4. */
export function serverMetadataRoutes(app: App, cloud: Cloud): void {
  const { db, clock } = cloud
  const path = `${NOVA.base}/servers/:serverId/metadata`
  const reading = { operation: 'servers:read' } as const
  const writing = { operation: 'servers:update' } as const

  const read = async (caller: Caller, serverId: string): Promise<Items> =>
    JSON.parse((await getServer(db.read, caller, serverId)).metadata)
  const change = (caller: Caller, serverId: string, next: (items: Items) => Items): Promise<Items> =>
    db.transaction(async (tx) => {
      const server = await getServer(tx, caller, serverId)
      assertUnlocked(server, caller.isAdmin)
      if (!SETTLED.includes(server.vmState)) {
        throw new ApiError(
          'conflictingRequest',
          `Cannot 'update_instance_metadata' instance ${serverId} while it is in vm_state ${server.vmState}`,
        )
      }
      const items = next(JSON.parse(server.metadata))
      assertMetadataQuota(cloud, items)
      await updateServer(tx, serverId, { metadata: JSON.stringify(items) }, clock.now())
      return items
    })

  app.get(path, { schema: { params: OfServer, response: { 200: All } }, config: reading }, async (request) => ({
    metadata: await read(request.caller, request.params.serverId),
  }))
  app.post(
    path,
    { schema: { params: OfServer, body: All, response: { 200: All } }, config: writing },
    async ({ caller, params, body }) => ({
      metadata: await change(caller, params.serverId, (items) => ({ ...items, ...body.metadata })),
    }),
  )
  app.put(
    path,
    { schema: { params: OfServer, body: All, response: { 200: All } }, config: writing },
    async ({ caller, params, body }) => ({ metadata: await change(caller, params.serverId, () => body.metadata) }),
  )

  app.get(`${path}/:key`, { schema: { params: OfKey, response: { 200: One } }, config: reading }, async (request) => {
    const { serverId, key } = request.params
    return { meta: { [key]: getItem(await read(request.caller, serverId), key) } }
  })
  app.put(
    `${path}/:key`,
    { schema: { params: OfKey, body: One, response: { 200: One } }, config: writing },
    async ({ caller, params: { serverId, key }, body: { meta } }) => {
      const [[name, value] = ['', ''], ...more] = Object.entries(meta)
      if (more.length > 0 || name !== key) {
        throw new ApiError('badRequest', `'meta' must have one member, named as the path: '${key}'.`)
      }
      if (!/^[a-zA-Z0-9_:. -]{1,255}$/.test(key)) {
        throw new ApiError('badRequest', 'A key has 1 to 255 letters, digits, spaces or any of _ - : and a dot.')
      }
      await change(caller, serverId, (items) => ({ ...items, [key]: value }))
      return { meta: { [key]: value } }
    },
  )
  app.delete(`${path}/:key`, { schema: { params: OfKey }, config: writing }, async ({ caller, params }, reply) => {
    await change(caller, params.serverId, (items) => {
      getItem(items, params.key)
      return Object.fromEntries(Object.entries(items).filter(([key]) => key !== params.key))
    })
    return reply.code(204).send()
  })
}

/** @throws ApiError itemNotFound */
function getItem(items: Items, key: string): string {
  const value = Object.hasOwn(items, key) ? items[key] : undefined
  if (value === undefined) throw new ApiError('itemNotFound', `Metadata item was not found: ${key}.`)
  return value
}
