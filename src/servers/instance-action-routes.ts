import { Type } from 'typebox'
import { findActionByRequest, listActions, listEvents } from '../actions/journal.ts'
import type { Cloud } from '../cloud.ts'
import type { Row } from '../db/schema.ts'
import { ApiError } from '../http/api-error.ts'
import type { App } from '../http/app.ts'
import { type Dialect, UOS } from '../http/dialect.ts'
import { timestampB, timestampBOrNull } from '../http/timestamps.ts'
import { getServer } from './server-store.ts'

const OfServer = Type.Object({ serverId: Type.String() })
const OfAction = Type.Object({ ...OfServer.properties, requestId: Type.String() })

const InstanceAction = Type.Object({
  action: Type.String(),
  instance_uuid: Type.String(),
  request_id: Type.String(),
  project_id: Type.String(),
  user_id: Type.String(),
  start_time: Type.String(),
  message: Type.Unsafe<string | null>({ type: ['string', 'null'], description: 'Error when a step of it failed' }),
})
const Event = Type.Object({
  event: Type.String(),
  start_time: Type.String(),
  finish_time: Type.Unsafe<string | null>({ type: ['string', 'null'] }),
  result: Type.Unsafe<string | null>({ type: ['string', 'null'], description: 'null while it goes on' }),
  traceback: Type.Unsafe<string | null>({ type: ['string', 'null'], description: 'why it failed' }),
})
const ListAnswer = Type.Object({ instanceActions: Type.Array(InstanceAction) })
const Answer = Type.Object({
  instanceAction: Type.Object({ ...InstanceAction.properties, events: Type.Optional(Type.Array(Event)) }),
})

/** Names that Nova has otherwise. Source: shared/spec/nova-v21.md, section 4, "Action names". */
const SPOKEN: Readonly<Record<string, string>> = {
  shutdown: 'stop',
  attachInterface: 'attach_interface',
  detachInterface: 'detach_interface',
  attachVolume: 'attach_volume',
  detachVolume: 'detach_volume',
}

/** What was asked of a server, newest first, and for admins what came of it step by step: straight from the journal. */
export function instanceActionRoutes(app: App, { db }: Cloud, { base }: Dialect = UOS): void {
  const path = `${base}/servers/:serverId/os-instance-actions`

  app.get(
    path,
    { schema: { params: OfServer, response: { 200: ListAnswer } }, config: { operation: 'servers:read' } },
    async ({ caller, params }) => {
      await getServer(db.read, caller, params.serverId)
      return { instanceActions: (await listActions(db.read, params.serverId)).reverse().map(actionView) }
    },
  )

  app.get(
    `${path}/:requestId`,
    { schema: { params: OfAction, response: { 200: Answer } }, config: { operation: 'servers:read' } },
    async ({ caller, params: { serverId, requestId } }) => {
      await getServer(db.read, caller, serverId)
      const action = await findActionByRequest(db.read, serverId, requestId)
      if (!action) {
        throw new ApiError('itemNotFound', `Action for request_id ${requestId} on instance ${serverId} not found.`)
      }
      if (!caller.isAdmin) return { instanceAction: actionView(action) }
      const events = (await listEvents(db.read, action.id)).map(eventView)
      return { instanceAction: { ...actionView(action), events: [...events, ...unfinished(action)].reverse() } }
    },
  )
}

const actionView = ({ name, resourceId, requestId, projectId, userId, acceptedAt, result }: Row<'actions'>) => ({
  action: Object.hasOwn(SPOKEN, name) ? (SPOKEN[name] ?? name) : name,
  instance_uuid: resourceId,
  request_id: requestId,
  project_id: projectId,
  user_id: userId,
  start_time: timestampB(acceptedAt),
  message: result === 'Error' ? 'Error' : null,
})

const eventView = ({ step, startedAt, finishedAt, result, message }: Row<'actionEvents'>) => ({
  event: step,
  start_time: timestampB(startedAt),
  finish_time: timestampBOrNull(finishedAt),
  result,
  traceback: message,
})

/** The step that goes on now. */
const unfinished = ({ isOpen, step, stepEnteredAt }: Row<'actions'>) =>
  isOpen === 1
    ? [{ event: step, start_time: timestampB(stepEnteredAt), finish_time: null, result: null, traceback: null }]
    : []
