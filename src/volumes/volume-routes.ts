/** Volumes: list, create, show, update, delete. Source: shared/spec/neighbours.md §5, uos-volume-image.md. */
import type { Static } from 'typebox'
import type { Cloud } from '../cloud.ts'
import type { Reader } from '../db/database.ts'
import type { VolumeSource } from '../host/volume-host.ts'
import { ApiError } from '../http/api-error.ts'
import type { App } from '../http/app.ts'
import { sendOnce } from '../http/once.ts'
import { acceptDeleteVolume } from './delete-volume.ts'
import { acceptNewVolume, assertMetadataQuota } from './new-volume.ts'
import { openAction } from './volume-action.ts'
import { readFlag, single, type VolumeCall, volumeRoute } from './volume-api.ts'
import { readVolumeFacts } from './volume-facts.ts'
import { type Columns, filtered, paged, readMetadataFilter } from './volume-list.ts'
import { CreateVolumeRequest, isTrue, readNames, TOLERATED_MEMBERS, UpdateVolumeRequest } from './volume-schema.ts'
import { findVolume, listVolumes, updateVolume, type Volume } from './volume-store.ts'
import {
  briefVolumeView,
  changedVolumeView,
  uosCreatedVolumeView,
  uosUpdatedVolumeView,
  uosVolumeView,
  volumeView,
} from './volume-view.ts'

const FILTERS: Columns<Volume> = {
  id: ({ id }) => id,
  name: ({ name }) => name,
  display_name: ({ name }) => name,
  status: ({ status }) => status,
  availability_zone: ({ availabilityZone }) => availabilityZone,
  user_id: ({ userId }) => userId,
  snapshot_id: ({ snapshotId }) => snapshotId,
  source_volid: ({ sourceVolumeId }) => sourceVolumeId,
  volume_type_id: ({ typeId }) => typeId,
}
const SORTS: Columns<Volume> = {
  ...FILTERS,
  size: ({ sizeGib }) => sizeGib,
  created_at: ({ createdAt }) => createdAt,
  updated_at: ({ updatedAt }) => updatedAt,
  bootable: ({ isBootable }) => isBootable,
  host: ({ hostName }) => hostName,
  project_id: ({ projectId }) => projectId,
}

export function volumeRoutes(app: App, cloud: Cloud): void {
  const { db } = cloud

  for (const isDetailed of [false, true]) {
    volumeRoute(app, cloud, {
      method: 'GET',
      path: isDetailed ? '/volumes/detail' : '/volumes',
      operation: 'volumes:read',
      isUos: true,
      async handle(call) {
        const found = filterVolumes(await listVolumes(db.read, scopeOf(call)), call)
        const { rows, count, links } = paged(found, call, SORTS)
        return {
          volumes: isDetailed ? await detailViews(call, rows) : rows.map((volume) => briefVolumeView(call, volume)),
          ...(links ? { volumes_links: links } : {}),
          ...(call.version >= 45 && call.dialect === 'cinder' && readFlag(call.query, 'with_count') ? { count } : {}),
        }
      },
    })
  }

  volumeRoute(app, cloud, {
    method: 'GET',
    path: '/volumes/summary',
    operation: 'volumes:read',
    since: 12,
    async handle(call) {
      const volumes = await listVolumes(db.read, scopeOf(call))
      const metadata: Record<string, string[]> = {}
      for (const volume of volumes) {
        for (const [key, value] of Object.entries(JSON.parse(volume.metadata) as Record<string, string>)) {
          const values = Object.hasOwn(metadata, key) ? (metadata[key] ?? []) : []
          metadata[key] = [...new Set([...values, value])]
        }
      }
      return {
        'volume-summary': {
          total_count: volumes.length,
          total_size: volumes.reduce((sum, { sizeGib }) => sum + sizeGib, 0),
          ...(call.version >= 36 ? { metadata } : {}),
        },
      }
    },
  })

  volumeRoute(app, cloud, {
    method: 'GET',
    path: '/volumes/:id',
    operation: 'volumes:read',
    isUos: true,
    handle: async (call) => ({ volume: await oneView(call, await getVolume(db.read, call)) }),
  })

  volumeRoute(app, cloud, {
    method: 'POST',
    path: '/volumes',
    operation: 'volumes:write',
    isUos: true,
    body: CreateVolumeRequest,
    async handle(call) {
      const { request, reply, caller, dialect } = call
      const wish = readWish(call)
      return sendOnce(cloud, request, reply, dialect === 'uos' ? 200 : 202, async (tx) => {
        const made = await acceptNewVolume(cloud, tx, caller, wish)
        await openAction(cloud, tx, cloud.actions.createVolume, made.id, null, caller)
        if (dialect !== 'uos') return { volume: changedVolumeView(call, made, await readVolumeFacts(tx, [made.id])) }
        // UOS gives a name to what has none.
        const volume = made.name === '' ? { ...made, name: `vol-${made.id}` } : made
        if (volume !== made) {
          await tx.updateTable('volumes').set({ name: volume.name }).where('id', '=', made.id).execute()
        }
        return { volume: uosCreatedVolumeView(volume) }
      })
    },
  })

  volumeRoute(app, cloud, {
    method: 'PUT',
    path: '/volumes/:id',
    operation: 'volumes:write',
    isUos: true,
    body: UpdateVolumeRequest,
    async handle(call) {
      const { name, description } = readNames(call.body.volume)
      const { metadata } = call.body.volume
      if (metadata) assertMetadataQuota(cloud, metadata)
      const volume = await db.transaction(async (tx) => {
        const { id } = await getVolume(tx, call)
        const change = {
          ...(name === undefined ? {} : { name }),
          ...(description === undefined ? {} : { description }),
          ...(metadata ? { metadata: JSON.stringify(metadata) } : {}),
        }
        await updateVolume(tx, id, change, call.now)
        return getVolume(tx, call)
      })
      const facts = await readVolumeFacts(db.read, [volume.id])
      return {
        volume:
          call.dialect === 'uos' ? uosUpdatedVolumeView(call, volume, facts) : changedVolumeView(call, volume, facts),
      }
    },
  })

  volumeRoute(app, cloud, {
    method: 'DELETE',
    path: '/volumes/:id',
    operation: 'volumes:write',
    isUos: true,
    status: 202,
    async handle(call) {
      const isForced = call.version >= 23 && call.dialect === 'cinder' && readFlag(call.query, 'force')
      if (isForced && !call.caller.isAdmin) throw new ApiError('forbidden', 'Only an admin deletes by force.')
      const isCascade = readFlag(call.query, 'cascade')
      await db.transaction(async (tx) => {
        const { id } = await getVolume(tx, call)
        await acceptDeleteVolume(cloud, tx, call.caller, id, { isCascade, isForced })
      })
    },
  })
}

/** Whose things are wanted: those of the project, or with `all_tenants` everybody's. Who is no admin asks in vain. */
export function scopeOf({ caller, query }: Pick<VolumeCall, 'caller' | 'query'>): { projectId: string | null } {
  if (!caller.isAdmin || !readFlag(query, 'all_tenants')) return { projectId: caller.projectId }
  return { projectId: single(query, 'project_id') ?? null }
}

function filterVolumes(volumes: readonly Volume[], { query, caller }: VolumeCall): Volume[] {
  const bootable = single(query, 'bootable')
  const wanted = bootable === undefined ? undefined : readFlag(query, 'bootable')
  const metadata = single(query, 'metadata')
  const items = metadata === undefined ? [] : Object.entries(readMetadataFilter(metadata))
  const host = caller.isAdmin ? single(query, 'host') : undefined
  return filtered(volumes, query, FILTERS).filter(
    (volume) =>
      (wanted === undefined || (volume.isBootable === 1) === wanted) &&
      (host === undefined || volume.hostName === host.split('@', 1)[0]) &&
      hasItems(volume.metadata, items),
  )
}

/** Whether metadata, as JSON, has all these items. */
export function hasItems(metadata: string, items: readonly [string, string][]): boolean {
  if (items.length === 0) return true
  const has = JSON.parse(metadata) as Record<string, string>
  return items.every(([key, value]) => Object.hasOwn(has, key) && has[key] === value)
}

async function detailViews(call: VolumeCall, volumes: readonly Volume[]): Promise<object[]> {
  const facts = await readVolumeFacts(
    call.cloud.db.read,
    volumes.map(({ id }) => id),
  )
  const view = call.dialect === 'uos' ? uosVolumeView : volumeView
  return volumes.map((volume) => view(call, volume, facts))
}

async function oneView(call: VolumeCall, volume: Volume): Promise<object> {
  const [shown = {}] = await detailViews(call, [volume])
  return call.dialect === 'uos' ? { ...shown, bootable: String(volume.isBootable === 1) } : shown
}

/**
 * The volume that the path names.
 * @throws ApiError itemNotFound, for another project's as for none at all.
 */
export async function getVolume(
  read: Reader,
  { caller, params }: Pick<VolumeCall, 'caller' | 'params'>,
): Promise<Volume> {
  const volume = await findVolume(read, caller, params.id ?? '')
  if (volume) return volume
  throw new ApiError('itemNotFound', `Volume ${params.id} could not be found.`)
}

function readWish(call: VolumeCall<Static<typeof CreateVolumeRequest>>) {
  const { volume } = call.body
  refuseUnknown(call)
  const source = readSource(volume)
  for (const member of ['consistencygroup_id', 'group_id', 'backup_id'] as const) {
    if (volume[member]) throw new ApiError('badRequest', `'${member}' is not supported: there is none such.`)
  }
  if (isTrue(volume.multiattach)) {
    throw new ApiError('badRequest', "'multiattach' is not supported: a volume has one writer.")
  }
  const { name, description } = readNames(volume)
  return {
    name,
    description,
    source,
    sizeGib: volume.size === undefined || volume.size === null ? undefined : Number(volume.size),
    type: volume.volume_type ?? undefined,
    availabilityZone: volume.availability_zone ?? undefined,
    metadata: volume.metadata ?? undefined,
    takesSnapshotOfImage: call.version >= 46,
  }
}

/** From 3.53 on Cinder refuses members that it does not know. */
function refuseUnknown({ version, dialect, body }: VolumeCall<Static<typeof CreateVolumeRequest>>): void {
  if (version < 53 || dialect === 'uos') return
  const known = [...Object.keys(CreateVolumeRequest.properties.volume.properties), ...TOLERATED_MEMBERS]
  const unknown = Object.keys(body.volume).filter((member) => !known.includes(member))
  if (unknown.length === 0) return
  throw new ApiError('badRequest', `Additional properties are not allowed (${unknown.join(', ')}).`)
}

function readSource(volume: Static<typeof CreateVolumeRequest>['volume']): VolumeSource | null {
  const imageId = volume.imageRef || volume.image_id
  const sources: VolumeSource[] = [
    ...(imageId ? [{ kind: 'image', imageId: imageId.split('/').at(-1) ?? '' } as const] : []),
    ...(volume.snapshot_id ? [{ kind: 'snapshot', snapshotId: volume.snapshot_id } as const] : []),
    ...(volume.source_volid ? [{ kind: 'volume', volumeId: volume.source_volid } as const] : []),
  ]
  if (sources.length > 1) {
    throw new ApiError('badRequest', 'A volume has one source: imageRef, snapshot_id or source_volid.')
  }
  return sources[0] ?? null
}
