import { Type } from 'typebox'
import type { Cloud } from '../cloud.ts'
import { ApiError } from '../http/api-error.ts'
import type { App } from '../http/app.ts'
import { type Dialect, UOS } from '../http/dialect.ts'
import { sendOnce } from '../http/once.ts'
import { acceptAttachVolume, acceptDetachVolume, getAttachment } from './attach-volume.ts'
import {
  AttachmentAnswer,
  AttachmentsAnswer,
  AttachVolumeRequest,
  NovaAttachVolumeRequest,
  UpdateAttachmentRequest,
} from './attachment-schema.ts'
import { attachmentView } from './attachment-view.ts'
import { listBlockDevices, updateBlockDevice } from './block-device-store.ts'
import { afterDeviceChanges } from './device-changes.ts'
import { SPOKEN } from './server-state.ts'
import { getServer } from './server-store.ts'

const OfServer = Type.Object({ serverId: Type.String() })
const OfVolume = Type.Object({ ...OfServer.properties, volumeId: Type.String() })
const Digits = Type.Optional(Type.String({ pattern: '^[0-9]{1,9}$' }))
const Page = Type.Object({ limit: Digits, offset: Digits })
/** What a page holds at most, and when nothing else is said. Source: shared/spec/nova-v21.md, section 1. */
const MOST = 1000

/** The volumes of a server (S20, S21, and their lists). */
export function serverVolumeRoutes(app: App, cloud: Cloud, { name, base }: Dialect = UOS): void {
  const { db } = cloud
  const volumes = `${base}/servers/:serverId/os-volume_attachments`
  // Nova answers 200, and at 2.1 knows neither tags nor what goes with the server.
  const [attached, AttachBody] = name === 'nova' ? [200, NovaAttachVolumeRequest] : [202, AttachVolumeRequest]

  app.get(
    volumes,
    {
      schema: { params: OfServer, querystring: Page, response: { 200: AttachmentsAnswer } },
      config: { operation: 'servers:read' },
    },
    async (request) => {
      const { serverId } = request.params
      const { limit, offset = '0' } = request.query
      await getServer(db.read, request.caller, serverId)
      const devices = (await listBlockDevices(db.read, serverId)).filter(({ volumeId }) => volumeId !== null)
      const page = devices.slice(Number(offset), Number(offset) + (Number(limit ?? 0) || MOST))
      return { volumeAttachments: page.map(attachmentView) }
    },
  )

  app.get(
    `${volumes}/:volumeId`,
    { schema: { params: OfVolume, response: { 200: AttachmentAnswer } }, config: { operation: 'servers:read' } },
    async (request) => {
      const { serverId, volumeId } = request.params
      await getServer(db.read, request.caller, serverId)
      return { volumeAttachment: attachmentView(await getAttachment(db.read, serverId, volumeId)) }
    },
  )

  app.post(
    volumes,
    {
      schema: { params: OfServer, body: AttachBody, response: { [attached]: AttachmentAnswer } },
      config: { operation: 'servers:action' },
    },
    async (request, reply) => {
      const { caller, body } = request
      const { serverId } = request.params
      await afterDeviceChanges(cloud, serverId, SPOKEN.attachVolume, () =>
        sendOnce(cloud, request, reply, attached, async (tx) => ({
          volumeAttachment: attachmentView(
            await acceptAttachVolume(cloud, tx, caller, serverId, body.volumeAttachment),
          ),
        })),
      )
      return reply
    },
  )

  app.delete(
    `${volumes}/:volumeId`,
    { schema: { params: OfVolume }, config: { operation: 'servers:action' } },
    async (request, reply) => {
      const { serverId, volumeId } = request.params
      await afterDeviceChanges(cloud, serverId, SPOKEN.detachVolume, () =>
        db.transaction((tx) => acceptDetachVolume(cloud, tx, request.caller, serverId, volumeId)),
      )
      return reply.code(202).send()
    },
  )

  // At Nova's 2.1 a PUT swaps volumes, which is for the volume service alone.
  if (name === 'nova') return
  // Whether the volume goes with the server is all that can be changed: another volume is another attachment.
  app.put(
    `${volumes}/:volumeId`,
    { schema: { params: OfVolume, body: UpdateAttachmentRequest }, config: { operation: 'servers:action' } },
    async (request, reply) => {
      const { serverId, volumeId } = request.params
      const { delete_on_termination: goes, ...same } = request.body.volumeAttachment
      await db.transaction(async (tx) => {
        await getServer(tx, request.caller, serverId)
        const device = await getAttachment(tx, serverId, volumeId)
        if (same.volumeId !== volumeId) {
          throw new ApiError(
            'conflictingRequest',
            'A volume cannot be swapped for another; detach it, and attach the other.',
          )
        }
        const shown: Record<string, unknown> = { ...attachmentView(device), tag: device.tag }
        for (const [name, value] of Object.entries(same)) {
          if (value !== shown[name]) throw new ApiError('badRequest', `'${name}' of an attachment cannot be changed.`)
        }
        if (goes !== undefined) await updateBlockDevice(tx, device.id, { isDeletedWithServer: goes ? 1 : 0 })
      })
      return reply.code(202).send()
    },
  )
}
