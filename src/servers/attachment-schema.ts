/** Bodies about volumes of servers. Source: shared/spec/uos-compute.md (S20), shared/spec/nova-v21.md, section 2.5. */
import { Type } from 'typebox'

/** What S20 holds under `volumeAttachment`, in the body of the list or of `…/action`. */
export const AttachVolumeBody = Type.Object({
  volumeId: Type.String({ minLength: 1, maxLength: 255 }),
  device: Type.Optional(Type.Union([Type.String({ maxLength: 255 }), Type.Null()])),
  tag: Type.Optional(Type.Union([Type.String({ minLength: 1, maxLength: 60, pattern: '^[^,/]*$' }), Type.Null()])),
  delete_on_termination: Type.Optional(Type.Boolean()),
})
export const AttachVolumeRequest = Type.Object({ volumeAttachment: AttachVolumeBody })
/** As Nova 2.1 has it. */
export const NovaAttachVolumeRequest = Type.Object({
  volumeAttachment: Type.Pick(AttachVolumeBody, ['volumeId', 'device']),
})

/** Everything but `delete_on_termination` may be repeated, and may not differ. */
export const UpdateAttachmentRequest = Type.Object({
  volumeAttachment: Type.Object({
    volumeId: Type.String({ minLength: 1, maxLength: 255 }),
    id: Type.Optional(Type.String()),
    serverId: Type.Optional(Type.String()),
    device: Type.Optional(Type.Union([Type.String(), Type.Null()])),
    tag: Type.Optional(Type.Union([Type.String(), Type.Null()])),
    delete_on_termination: Type.Optional(Type.Boolean()),
  }),
})

const Attachment = Type.Object({
  id: Type.String({ description: 'the volume, as in volumeId' }),
  volumeId: Type.String(),
  serverId: Type.String(),
  device: Type.String(),
})
export const AttachmentAnswer = Type.Object({ volumeAttachment: Attachment })
export const AttachmentsAnswer = Type.Object({ volumeAttachments: Type.Array(Attachment) })
