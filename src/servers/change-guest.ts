/** The durable actions that change something inside the guest, by the agent that runs there. */
import type { Action } from '../actions/action.ts'
import type { Row } from '../db/schema.ts'
import { HostError } from '../host/host-driver.ts'
import { ApiError } from '../http/api-error.ts'
import type { ImageProperties } from '../images/hardware-of.ts'
import { type ActionParts, type ServerSubject, serverAction, settled } from './server-action.ts'
import { readUntold, writeUntold } from './untold-keys.ts'

/** An agent has a deadline of its own; this is for a host that cannot be reached. */
const DEADLINE_MS = 2 * 60_000

/** Whatever a command that reads users from lines, or from paths, would take for more than a name. */
const NO_USER_NAME = /[\p{Cc}\p{Cs}:/\\]/u

/**
 * Who logs in to a guest with the server's password and keys, as its image says.
 * @throws ApiError conflictingRequest when that is no user name.
 * Source: Glance's property `os_admin_user`; `Administrator` is what Windows calls root.
 */
export function adminUserOf(properties: ImageProperties): string {
  const name = properties.os_admin_user?.trim() ?? ''
  if (name === '') return properties.os_type?.trim().toLowerCase() === 'windows' ? 'Administrator' : 'root'
  if (!NO_USER_NAME.test(name)) return name
  throw new ApiError('conflictingRequest', `The image's os_admin_user is no user name: ${JSON.stringify(name)}.`)
}

/** What the image of a server said when the server was made. */
export const imagePropertiesOf = (server: Pick<Row<'servers'>, 'imageProperties'>): ImageProperties =>
  JSON.parse(server.imageProperties)

/**
 * S11. The password is the action's secret, and becomes the server's.
 *
 *   setPassword      active, with the new password; or with the old one, when the guest would not
 */
export function changePassword(parts: ActionParts): Action<null, 'setPassword', ServerSubject> {
  return serverAction<null, 'setPassword'>(parts, {
    name: 'changePassword',
    first: 'setPassword',
    deadlineMs: DEADLINE_MS,
    taskStates: { setPassword: 'updating_password' },
    steps: {
      async setPassword({ server, host, sealedSecret }) {
        if (sealedSecret === null) throw new ApiError('computeFault', 'The password is not there any more.')
        const password = parts.box.open(sealedSecret)
        const userName = adminUserOf(imagePropertiesOf(server))
        await host.setGuestPassword(server.id, userName, password).catch((error: unknown) => {
          throw withoutSecret(error, password)
        })
        return { done: true, save: settled(parts, server.id, { sealedAdminPass: sealedSecret }) }
      },
    },
    failed: ({ server }) => ({ done: true, save: settled(parts, server.id, {}) }),
  })
}

/** An agent may say anything, the password included; its words go to the log and to the action's events. */
function withoutSecret(error: unknown, password: string): unknown {
  const hidden = [password, Buffer.from(password).toString('base64')]
  const says = (one: unknown): boolean =>
    one instanceof Error && (hidden.some((text) => one.message.includes(text)) || says(one.cause))
  if (!says(error)) return error
  return new HostError(
    error instanceof HostError ? error.failure : 'agentRefused',
    'The guest did not take the password.',
  )
}

/** S18. */
export const attachKeypairs = (parts: ActionParts) => changeKeys(parts, 'attachKeypairs')
/** S19. */
export const detachKeypairs = (parts: ActionParts) => changeKeys(parts, 'detachKeypairs')
/** Ours, once an agent answers that did not when the keys changed. */
export const tellKeypairs = (parts: ActionParts) => changeKeys(parts, 'tellKeypairs')

/**
 * The rows name the keys since the request was accepted, and metadata tells them. What the guest is to be told stays
 * written down until it was, or said no. Users see no task state.
 *
 *   tellGuest      told; or not, and the action's event says why
 */
function changeKeys(parts: ActionParts, name: 'attachKeypairs' | 'detachKeypairs' | 'tellKeypairs') {
  return serverAction<null, 'tellGuest'>(parts, {
    name,
    first: 'tellGuest',
    deadlineMs: DEADLINE_MS,
    steps: {
      async tellGuest({ server, host }) {
        const properties = imagePropertiesOf(server)
        if (server.untoldKeys === null || server.vmState !== 'active') return { done: true }
        await host
          .changeGuestKeys(server.id, adminUserOf(properties), readUntold(server.untoldKeys))
          .catch((error: unknown) => {
            throw untold(error)
          })
        return { done: true, save: (tx) => writeUntold(tx, server.id, null) }
      },
    },
    failed: ({ server }, error) => {
      // A guest that said no would say it again.
      const isAnswer = error instanceof ApiError || (error instanceof HostError && error.failure === 'agentRefused')
      return isAnswer ? { done: true, save: (tx) => writeUntold(tx, server.id, null) } : { done: true }
    },
    abandoned: async () => {},
  })
}

function untold(error: unknown): unknown {
  if (!(error instanceof HostError) || !error.isFinal) return error
  const { failure, message } = error
  const said =
    failure === 'agentRefused' ? 'The guest would not have the keys' : 'The guest was not told of the keys yet'
  return new HostError(failure, `${said}, which its metadata tells: ${message}`, {
    cause: error,
  })
}
