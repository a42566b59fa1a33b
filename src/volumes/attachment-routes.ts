/**
 * Attachments as the volume service shows them: a view of the disks that servers have. Compute makes and ends them, so
 * that there is one owner of what is attached.
 * Source: shared/spec/neighbours.md §5.
 */
import type { Cloud } from '../cloud.ts'
import type { Row } from '../db/schema.ts'
import { ApiError } from '../http/api-error.ts'
import type { App } from '../http/app.ts'
import { timestampB } from '../http/timestamps.ts'
import { type VolumeCall, volumeRoute } from './volume-api.ts'
import { type Columns, filtered, paged } from './volume-list.ts'
import { scopeOf } from './volume-routes.ts'

type Attachment = Row<'blockDevices'> & { volumeId: string; projectId: string }

const FILTERS: Columns<Attachment> = {
  id: ({ id }) => id,
  volume_id: ({ volumeId }) => volumeId,
  instance_id: ({ serverId }) => serverId,
  instance_uuid: ({ serverId }) => serverId,
  status: (attachment) => attachment.status,
}

export function volumeAttachmentRoutes(app: App, cloud: Cloud): void {
  for (const isDetailed of [false, true]) {
    volumeRoute(app, cloud, {
      method: 'GET',
      path: isDetailed ? '/attachments/detail' : '/attachments',
      operation: 'volumes:read',
      since: 27,
      async handle(call) {
        const found = filtered(await listAttached(cloud, scopeOf(call)), call.query, FILTERS)
        const { rows, links } = paged(found, call, FILTERS)
        return {
          attachments: rows.map(isDetailed ? attachmentView : briefView),
          ...(links ? { attachments_links: links } : {}),
        }
      },
    })
  }

  volumeRoute(app, cloud, {
    method: 'GET',
    path: '/attachments/:id',
    operation: 'volumes:read',
    since: 27,
    handle: async (call) => ({ attachment: attachmentView(await getAttachment(cloud, call)) }),
  })

  volumeRoute(app, cloud, {
    method: 'DELETE',
    path: '/attachments/:id',
    operation: 'volumes:write',
    since: 27,
    async handle(call) {
      const { serverId, volumeId } = await getAttachment(cloud, call)
      throw new ApiError(
        'conflictingRequest',
        `Server ${serverId} uses volume ${volumeId}. Detach it from the server, by the compute service.`,
      )
    },
  })

  for (const [method, path] of [
    ['POST', '/attachments'],
    ['PUT', '/attachments/:id'],
    ['POST', '/attachments/:id/action'],
  ] as const) {
    volumeRoute(app, cloud, {
      method,
      path,
      operation: 'volumes:write',
      since: 27,
      async handle(call) {
        if (call.params.id !== undefined) await getAttachment(cloud, call)
        throw new ApiError(
          'badRequest',
          'Attachments are made by the compute service: POST …/servers/{id}/os-volume_attachments.',
        )
      },
    })
  }
}

/** The attachments of a project's volumes, or of everybody's when it is null; newest first. */
async function listAttached(cloud: Cloud, { projectId }: { projectId: string | null }): Promise<Attachment[]> {
  return (await cloud.db.read
    .selectFrom('blockDevices')
    .innerJoin('volumes', 'volumes.id', 'blockDevices.volumeId')
    .selectAll('blockDevices')
    .select('volumes.projectId')
    .$if(projectId !== null, (own) => own.where('volumes.projectId', '=', projectId ?? ''))
    .orderBy('blockDevices.createdAt', 'desc')
    .orderBy('blockDevices.id', 'desc')
    .execute()) as Attachment[]
}

async function getAttachment(cloud: Cloud, { caller, params }: VolumeCall): Promise<Attachment> {
  const all = await listAttached(cloud, { projectId: caller.isAdmin ? null : caller.projectId })
  const attachment = all.find(({ id }) => id === params.id)
  if (attachment) return attachment
  throw new ApiError('itemNotFound', `Attachment ${params.id} could not be found.`)
}

const briefView = ({ id, volumeId, serverId, status }: Attachment) => ({
  id,
  volume_id: volumeId,
  instance: serverId,
  status,
})

const attachmentView = (attachment: Attachment) => ({
  ...briefView(attachment),
  attach_mode: attachment.isReadOnly === 1 ? 'ro' : 'rw',
  attached_at: attachment.attachedAt === null ? '' : timestampB(attachment.attachedAt),
  detached_at: '',
  connection_info: { access_mode: attachment.isReadOnly === 1 ? 'ro' : 'rw' },
})
