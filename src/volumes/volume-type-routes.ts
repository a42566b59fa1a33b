/** Volume types, their extra specs, and whose private ones are. Source: shared/spec/neighbours.md §5. */
import { Type } from 'typebox'
import type { Cloud } from '../cloud.ts'
import type { Reader, Tx } from '../db/database.ts'
import { ApiError } from '../http/api-error.ts'
import type { App } from '../http/app.ts'
import { sendOnce } from '../http/once.ts'
import type { Caller } from '../http/policy.ts'
import { newId } from '../lib/ids.ts'
import { readActionName } from './volume-action-row.ts'
import { single, type VolumeCall, volumeRoute } from './volume-api.ts'
import { paged } from './volume-list.ts'
import { Flag, isTrue, Metadata, Name } from './volume-schema.ts'
import { findType, listTypes, readDefaultType, type VolumeType } from './volume-type-store.ts'

const TypeName = Type.String({ minLength: 1, maxLength: 255, pattern: '\\S' })
const Description = Type.Optional(Type.Union([Name, Type.Null()]))
const CreateTypeRequest = Type.Object({
  volume_type: Type.Object({
    name: TypeName,
    description: Description,
    'os-volume-type-access:is_public': Type.Optional(Flag),
    is_public: Type.Optional(Flag),
    extra_specs: Type.Optional(Metadata),
  }),
})
const UpdateTypeRequest = Type.Object({
  volume_type: Type.Object({
    name: Type.Optional(Type.Union([TypeName, Type.Null()])),
    description: Description,
    is_public: Type.Optional(Flag),
  }),
})
const SpecsRequest = Type.Object({ extra_specs: Metadata })

/** What those who are no admins see of extra specs: what matters to them. */
const SEEN_BY_ALL = ['multiattach', 'replication_enabled', 'RESKEY:availability_zones']

export function volumeTypeRoutes(app: App, cloud: Cloud): void {
  const { db } = cloud

  volumeRoute(app, cloud, {
    method: 'GET',
    path: '/types',
    operation: 'volumes:read',
    async handle(call) {
      const types = filterTypes(await listTypes(db.read, call.caller), call)
      const { rows, links } = paged(types, call, {
        id: ({ id }) => id,
        name: ({ name }) => name,
        created_at: ({ createdAt }) => createdAt,
      })
      return {
        volume_types: rows.map((type) => typeView(call.caller, type)),
        ...(links ? { volume_type_links: links } : {}),
      }
    },
  })

  volumeRoute(app, cloud, {
    method: 'GET',
    path: '/types/default',
    operation: 'volumes:read',
    async handle({ caller }) {
      const type = await readDefaultType(db.read, cloud.config.defaultVolumeType)
      if (!type) throw new ApiError('itemNotFound', 'Default volume type can not be found.')
      return { volume_type: typeView(caller, type) }
    },
  })

  volumeRoute(app, cloud, {
    method: 'GET',
    path: '/types/:id',
    operation: 'volumes:read',
    handle: async (call) => ({ volume_type: typeView(call.caller, await getType(db.read, call)) }),
  })

  volumeRoute(app, cloud, {
    method: 'POST',
    path: '/types',
    operation: 'volumes:admin',
    body: CreateTypeRequest,
    async handle(call) {
      const { request, reply, now } = call
      const { name, description, extra_specs, ...rest } = call.body.volume_type
      const isPublic = rest['os-volume-type-access:is_public'] ?? rest.is_public ?? true
      return sendOnce(cloud, request, reply, 200, async (tx) => {
        await demandFreeName(tx, name)
        const type: VolumeType = {
          id: newId(),
          name,
          description: description ?? null,
          isPublic: isTrue(isPublic) ? 1 : 0,
          extraSpecs: JSON.stringify(extra_specs ?? {}),
          createdAt: now,
          updatedAt: now,
        }
        await tx.insertInto('volumeTypes').values(type).execute()
        return { volume_type: typeView(call.caller, type) }
      })
    },
  })

  volumeRoute(app, cloud, {
    method: 'PUT',
    path: '/types/:id',
    operation: 'volumes:admin',
    body: UpdateTypeRequest,
    async handle(call) {
      const { name, description, is_public } = call.body.volume_type
      return db.transaction(async (tx) => {
        const type = await getType(tx, call)
        if (name && name !== type.name) await demandFreeName(tx, name)
        const change = {
          ...(name ? { name } : {}),
          ...(description === undefined ? {} : { description }),
          ...(is_public === undefined ? {} : { isPublic: isTrue(is_public) ? (1 as const) : (0 as const) }),
        }
        await setType(tx, type.id, change, call.now)
        return { volume_type: typeView(call.caller, await getType(tx, call)) }
      })
    },
  })

  volumeRoute(app, cloud, {
    method: 'DELETE',
    path: '/types/:id',
    operation: 'volumes:admin',
    status: 202,
    async handle(call) {
      await db.transaction(async (tx) => {
        const type = await getType(tx, call)
        const used = await tx.selectFrom('volumes').select('id').where('typeId', '=', type.id).executeTakeFirst()
        if (used) throw new ApiError('badRequest', `Volume type ${type.id} is in use, by volume ${used.id} for one.`)
        const byDefault = await readDefaultType(tx, cloud.config.defaultVolumeType)
        if (byDefault?.id === type.id) {
          throw new ApiError('badRequest', `Volume type ${type.name} is the default one, which cannot be deleted.`)
        }
        await tx.deleteFrom('volumeTypes').where('id', '=', type.id).execute()
      })
    },
  })

  extraSpecRoutes(app, cloud)
  accessRoutes(app, cloud)
}

function extraSpecRoutes(app: App, cloud: Cloud): void {
  const { db } = cloud
  const path = '/types/:id/extra_specs'
  const change = (call: VolumeCall, next: (specs: Record<string, string>) => Record<string, string>) =>
    db.transaction(async (tx) => {
      const type = await getType(tx, call)
      await setType(tx, type.id, { extraSpecs: JSON.stringify(next(JSON.parse(type.extraSpecs))) }, call.now)
    })
  const keyOf = (call: VolumeCall, specs: Record<string, string>): string => {
    const key = call.params.key ?? ''
    if (Object.hasOwn(specs, key)) return key
    throw new ApiError('itemNotFound', `Volume type ${call.params.id} has no extra spec with key ${key}.`)
  }

  volumeRoute(app, cloud, {
    method: 'GET',
    path,
    operation: 'volumes:read',
    handle: async (call) => ({ extra_specs: seenSpecs(call.caller, await getType(db.read, call)) }),
  })
  volumeRoute(app, cloud, {
    method: 'POST',
    path,
    operation: 'volumes:admin',
    body: SpecsRequest,
    async handle(call) {
      const { extra_specs } = call.body
      await change(call, (specs) => ({ ...specs, ...extra_specs }))
      return { extra_specs }
    },
  })
  volumeRoute(app, cloud, {
    method: 'GET',
    path: `${path}/:key`,
    operation: 'volumes:read',
    async handle(call) {
      const specs = seenSpecs(call.caller, await getType(db.read, call))
      const key = keyOf(call, specs)
      return { [key]: specs[key] }
    },
  })
  volumeRoute(app, cloud, {
    method: 'PUT',
    path: `${path}/:key`,
    operation: 'volumes:admin',
    body: Metadata,
    async handle(call) {
      const body = call.body as Record<string, string>
      const keys = Object.keys(body)
      if (keys.length !== 1 || keys[0] !== call.params.key) {
        throw new ApiError('badRequest', 'The body must have one item, with the key that the path names.')
      }
      await change(call, (specs) => ({ ...specs, ...body }))
      return body
    },
  })
  volumeRoute(app, cloud, {
    method: 'DELETE',
    path: `${path}/:key`,
    operation: 'volumes:admin',
    status: 202,
    async handle(call) {
      await change(call, (specs) => {
        const { [keyOf(call, specs)]: _gone, ...rest } = specs
        return rest
      })
    },
  })
  volumeRoute(app, cloud, {
    method: 'GET',
    path: '/types/:id/encryption',
    operation: 'volumes:read',
    async handle(call) {
      await getType(db.read, call)
      return {}
    },
  })
}

/** Which projects may use a private type: one route lists them, and two actions change them. */
function accessRoutes(app: App, cloud: Cloud): void {
  const { db } = cloud

  volumeRoute(app, cloud, {
    method: 'GET',
    path: '/types/:id/os-volume-type-access',
    operation: 'volumes:admin',
    async handle(call) {
      const type = await getPrivateType(db.read, call)
      const rows = await db.read.selectFrom('volumeTypeAccess').selectAll().where('typeId', '=', type.id).execute()
      return {
        volume_type_access: rows.map(({ projectId }) => ({ volume_type_id: type.id, project_id: projectId })),
      }
    },
  })

  volumeRoute(app, cloud, {
    method: 'POST',
    path: '/types/:id/action',
    operation: 'volumes:admin',
    status: 202,
    body: Type.Record(Type.String(), Type.Unknown()),
    async handle(call) {
      const name = readActionName(call.body)
      const project = (call.body[name] as { project?: unknown } | null)?.project
      if (name !== 'addProjectAccess' && name !== 'removeProjectAccess') {
        throw new ApiError('badRequest', `There is no such action: ${name}.`)
      }
      if (typeof project !== 'string' || project === '' || project.length > 255) {
        throw new ApiError('badRequest', "'project' must be the id of a project.")
      }
      await db.transaction(async (tx) => {
        const type = await getPrivateType(tx, call)
        const access = { typeId: type.id, projectId: project }
        if (name === 'addProjectAccess') {
          const { numInsertedOrUpdatedRows } = await tx
            .insertInto('volumeTypeAccess')
            .values(access)
            .onConflict((conflict) => conflict.doNothing())
            .executeTakeFirstOrThrow()
          if (numInsertedOrUpdatedRows) return
          throw new ApiError('conflictingRequest', `Project ${project} may use volume type ${type.id} already.`)
        }
        const { numDeletedRows } = await tx
          .deleteFrom('volumeTypeAccess')
          .where('typeId', '=', type.id)
          .where('projectId', '=', project)
          .executeTakeFirstOrThrow()
        if (numDeletedRows > 0n) return
        throw new ApiError('itemNotFound', `Project ${project} may not use volume type ${type.id} as it is.`)
      })
    },
  })
}

/** Everybody is shown public types, and admins private ones only when they ask: `is_public=None` for all. */
function filterTypes(types: readonly VolumeType[], { query, caller }: VolumeCall): VolumeType[] {
  const name = single(query, 'name')
  const wanted = single(query, 'is_public')
  const named = types.filter((type) => name === undefined || type.name === name)
  if (!caller.isAdmin || (wanted !== undefined && /^none$/i.test(wanted))) return named
  if (wanted !== undefined && !/^(1|0|t|f|true|false|yes|no|on|off|y|n)$/i.test(wanted)) {
    throw new ApiError('badRequest', `is_public must be true, false or None, not '${wanted}'.`)
  }
  const isPublic = wanted === undefined || isTrue(wanted)
  return named.filter((type) => (type.isPublic === 1) === isPublic)
}

const typeView = (caller: Caller, type: VolumeType) => ({
  id: type.id,
  name: type.name,
  description: type.description,
  is_public: type.isPublic === 1,
  'os-volume-type-access:is_public': type.isPublic === 1,
  extra_specs: seenSpecs(caller, type),
  ...(caller.isAdmin ? { qos_specs_id: null } : {}),
})

function seenSpecs({ isAdmin }: Caller, { extraSpecs }: VolumeType): Record<string, string> {
  const specs: Record<string, string> = JSON.parse(extraSpecs)
  if (isAdmin) return specs
  return Object.fromEntries(Object.entries(specs).filter(([key]) => SEEN_BY_ALL.includes(key)))
}

/** @throws ApiError itemNotFound, for one that is not for the caller's project as for none at all. */
async function getType(read: Reader, { caller, params }: Pick<VolumeCall, 'caller' | 'params'>): Promise<VolumeType> {
  const type = await findType(read, caller, params.id ?? '')
  if (type && type.id === params.id) return type
  throw new ApiError('itemNotFound', `Volume type ${params.id} could not be found.`)
}

async function getPrivateType(read: Reader, call: Pick<VolumeCall, 'caller' | 'params'>): Promise<VolumeType> {
  const type = await getType(read, call)
  if (type.isPublic === 0) return type
  throw new ApiError('itemNotFound', 'Access list not available for public volume types.')
}

async function demandFreeName(tx: Tx, name: string): Promise<void> {
  if (!(await tx.selectFrom('volumeTypes').select('id').where('name', '=', name).executeTakeFirst())) return
  throw new ApiError('conflictingRequest', `There is a volume type named ${name} already.`)
}

async function setType(tx: Tx, id: string, change: Partial<VolumeType>, now: number): Promise<void> {
  await tx
    .updateTable('volumeTypes')
    .set({ ...change, updatedAt: now })
    .where('id', '=', id)
    .execute()
}
