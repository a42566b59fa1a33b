/** Metadata of volumes and snapshots: the same five routes below each. */
import type { Cloud } from '../cloud.ts'
import type { Reader, Tx } from '../db/database.ts'
import { ApiError } from '../http/api-error.ts'
import type { App } from '../http/app.ts'
import { assertMetadataQuota } from './new-volume.ts'
import { getSnapshot } from './snapshot-routes.ts'
import { updateSnapshot } from './snapshot-store.ts'
import { type VolumeCall, volumeRoute } from './volume-api.ts'
import { getVolume } from './volume-routes.ts'
import { MetadataRequest, MetaRequest } from './volume-schema.ts'
import { lockVolume, updateVolume } from './volume-store.ts'

type Items = Record<string, string>

interface Owner {
  path: string
  get(read: Reader, call: Pick<VolumeCall, 'caller' | 'params'>): Promise<{ id: string; metadata: string }>
  /** Takes turns on it. */
  lock(tx: Tx, call: Pick<VolumeCall, 'caller' | 'params'>): Promise<{ id: string; metadata: string }>
  set(tx: Tx, id: string, change: { metadata: string }, now: number): Promise<void>
}

const OWNERS: Owner[] = [
  {
    path: '/volumes/:id/metadata',
    get: getVolume,
    lock: async (tx, call) => lockVolume(tx, (await getVolume(tx, call)).id),
    set: updateVolume,
  },
  {
    path: '/snapshots/:id/metadata',
    get: getSnapshot,
    async lock(tx, call) {
      await lockVolume(tx, (await getSnapshot(tx, call)).volumeId)
      return getSnapshot(tx, call)
    },
    set: updateSnapshot,
  },
]

export function volumeMetadataRoutes(app: App, cloud: Cloud): void {
  for (const owner of OWNERS) ownerRoutes(app, cloud, owner)
}

function ownerRoutes(app: App, cloud: Cloud, { path, get, lock, set }: Owner): void {
  const { db } = cloud
  const change = (call: VolumeCall, next: (items: Items) => Items): Promise<Items> =>
    db.transaction(async (tx) => {
      const owner = await lock(tx, call)
      const items = next(JSON.parse(owner.metadata))
      assertMetadataQuota(cloud, items)
      await set(tx, owner.id, { metadata: JSON.stringify(items) }, call.now)
      return items
    })
  const keyOf = (call: VolumeCall, items: Items): string => {
    const key = call.params.key ?? ''
    if (Object.hasOwn(items, key)) return key
    throw new ApiError('itemNotFound', `There is no metadata item ${key}.`)
  }

  volumeRoute(app, cloud, {
    method: 'GET',
    path,
    operation: 'volumes:read',
    handle: async (call) => ({ metadata: JSON.parse((await get(db.read, call)).metadata) }),
  })
  volumeRoute(app, cloud, {
    method: 'POST',
    path,
    operation: 'volumes:write',
    body: MetadataRequest,
    handle: async (call) => ({ metadata: await change(call, (items) => ({ ...items, ...call.body.metadata })) }),
  })
  volumeRoute(app, cloud, {
    method: 'PUT',
    path,
    operation: 'volumes:write',
    body: MetadataRequest,
    handle: async (call) => ({ metadata: await change(call, () => call.body.metadata) }),
  })
  volumeRoute(app, cloud, {
    method: 'GET',
    path: `${path}/:key`,
    operation: 'volumes:read',
    async handle(call) {
      const items: Items = JSON.parse((await get(db.read, call)).metadata)
      const key = keyOf(call, items)
      return { meta: { [key]: items[key] } }
    },
  })
  volumeRoute(app, cloud, {
    method: 'PUT',
    path: `${path}/:key`,
    operation: 'volumes:write',
    body: MetaRequest,
    async handle(call) {
      const { meta } = call.body
      const keys = Object.keys(meta)
      if (keys.length !== 1 || keys[0] !== call.params.key) {
        throw new ApiError('badRequest', 'The body must have one item, with the key that the path names.')
      }
      await change(call, (items) => ({ ...items, ...meta }))
      return { meta }
    },
  })
  volumeRoute(app, cloud, {
    method: 'DELETE',
    path: `${path}/:key`,
    operation: 'volumes:write',
    async handle(call) {
      await change(call, (items) => {
        const { [keyOf(call, items)]: _gone, ...rest } = items
        return rest
      })
      return call.reply.code(200).send()
    },
  })
}
