/** Accepts new passwords and keys for servers; change-guest.ts then tells the guest. */
import { acceptAction } from '../actions/journal.ts'
import type { Cloud } from '../cloud.ts'
import type { Tx } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { GuestHealth } from '../host/guest-agent-host.ts'
import { ApiError } from '../http/api-error.ts'
import type { Caller } from '../http/policy.ts'
import { hardwareOf } from '../images/hardware-of.ts'
import { findKeypair } from '../keypairs/keypair-store.ts'
import type { ActionCall } from './action-row.ts'
import { adminUserOf, imagePropertiesOf } from './change-guest.ts'
import { afterDeviceChanges, demandNoDeviceChange } from './device-changes.ts'
import { openAction } from './open-action.ts'
import {
  insertServerKeypairs,
  listServerKeypairs,
  removeServerKeypairs,
  type ServerKeypair,
} from './server-keypair-store.ts'
import { assertStartable, SPOKEN } from './server-state.ts'
import { getServer, updateServer } from './server-store.ts'
import { bytesOf, type KeyChange, mergeChanges, readUntold, writeUntold } from './untold-keys.ts'

/** How long a request waits for a guest to say that it can be asked, in milliseconds. */
const PATIENCE_MS = 10_000

/**
 * Accepts a new password for the guest's administrator, once an agent inside says that it is there.
 * @throws ApiError itemNotFound; badRequest for what no login takes; conflictingRequest for the state, or no agent that
 * answers; notImplemented for an image without one; serviceUnavailable when the host cannot be reached.
 */
export async function acceptChangePassword(call: ActionCall<{ adminPass: string }>): Promise<void> {
  const { cloud, caller, serverId, body } = call
  assertPassword(body.adminPass)
  const server = await getServer(cloud.db.read, caller, serverId)
  assertStartable(server, 'changePassword', caller.isAdmin)
  await demandAgent(cloud, server)
  const sealedSecret = cloud.box.seal(body.adminPass)
  await afterDeviceChanges(cloud, serverId, SPOKEN.changePassword, () =>
    cloud.db.transaction((tx) =>
      openAction(cloud, tx, caller, serverId, {
        name: 'changePassword',
        taskState: 'updating_password',
        action: cloud.actions.changePassword,
        input: null,
        sealedSecret,
      }),
    ),
  )
}

/** Passwords reach guests as lines: a line break in one would be the next user's. @throws ApiError badRequest */
function assertPassword(adminPass: string): void {
  if (/\p{Cc}/u.test(adminPass)) {
    throw new ApiError('badRequest', "'adminPass' holds a line break or another control character.")
  }
  if (!adminPass.isWellFormed()) throw new ApiError('badRequest', "'adminPass' is no well-formed Unicode text.")
}

async function demandAgent(cloud: Cloud, server: Row<'servers'>): Promise<void> {
  const { id } = server
  const properties = imagePropertiesOf(server)
  if (!hardwareOf(properties).hasAgent) {
    throw new ApiError(
      'notImplemented',
      `The image of instance ${id} says that it has no guest agent (hw_qemu_guest_agent=no); change passwords inside.`,
    )
  }
  adminUserOf(properties)
  const health = await readHealth(cloud, server)
  if (health?.agent === 'answers') return
  throw new ApiError(
    'conflictingRequest',
    `No guest agent answers in instance ${id}. Install the package qemu-guest-agent in it and start that; its image ` +
      'needs the property hw_qemu_guest_agent=yes, or none of that name. A guest that still boots answers a little later.',
  )
}

/** Undefined when that takes longer than a request can wait. */
async function readHealth({ hosts, clock, log }: Cloud, server: Row<'servers'>): Promise<GuestHealth | undefined> {
  const unreachable = (cause?: unknown) =>
    new ApiError('serviceUnavailable', `The host of instance ${server.id} cannot be reached now; try again.`, { cause })
  const host = hosts.get(server.hostName ?? '')
  if (!host) throw unreachable()
  const health = host.readGuestHealth(server.id).catch((cause: unknown) => {
    log.warn({ err: cause, serverId: server.id }, 'the health of a guest could not be read')
    throw unreachable(cause)
  })
  // It may come after nobody waits for it any more.
  health.catch(() => {})
  const patience = Promise.withResolvers<undefined>()
  const cancel = clock.after(PATIENCE_MS, () => patience.resolve(undefined))
  return Promise.race([health, patience.promise]).finally(cancel)
}

/** Keys that a server has at most: its metadata lists them all. */
const MOST_KEYS = 100

/**
 * Accepts keypairs of the caller for a server: all of them or none.
 * @throws ApiError itemNotFound; badRequest naming those that the caller does not have; conflictingRequest for the state, or
 * when another key has the name; forbidden for too many.
 */
export async function acceptAttachKeypairs(call: ActionCall<{ key_names: string[] }>): Promise<void> {
  const { caller, body } = call
  await changeKeys(call, 'attachKeypairs', async (tx, serverId) => {
    const keypairs = await readKeypairs(tx, caller, new Set(body.key_names))
    const attached = await listServerKeypairs(tx, serverId)
    for (const { name, publicKey } of keypairs) {
      const there = attached.find((one) => one.name === name)
      if (!there || bytesOf(there.publicKey) === bytesOf(publicKey)) continue
      throw new ApiError(
        'conflictingRequest',
        `Instance ${serverId} has another key named '${name}'; detach that first.`,
      )
    }
    const added = keypairs.filter(({ name }) => !attached.some((one) => one.name === name))
    const count = attached.length + added.length
    if (count > MOST_KEYS) {
      const message = `Quota exceeded for key_pairs of a server: requested ${added.length}, used ${attached.length}, limit ${MOST_KEYS}.`
      throw new ApiError('forbidden', message)
    }
    await insertServerKeypairs(tx, serverId, added)
    // All that were asked for, also those that the rows had: the guest may have missed them.
    return { add: keypairs.map(lineOf), remove: [] }
  })
}

/**
 * Accepts that keypairs go from a server, by the names they were attached under; others are ignored.
 * @throws ApiError itemNotFound; conflictingRequest for the state.
 */
export async function acceptDetachKeypairs(call: ActionCall<{ key_names: string[] }>): Promise<void> {
  const names = new Set(call.body.key_names)
  await changeKeys(call, 'detachKeypairs', async (tx, serverId) => {
    const attached = await listServerKeypairs(tx, serverId)
    const gone = attached.filter(({ name }) => names.has(name))
    await removeServerKeypairs(
      tx,
      serverId,
      gone.map(({ name }) => name),
    )
    // One key may be attached under two names, and logs in until the last of them goes.
    const left = new Set(attached.filter(({ name }) => !names.has(name)).map(({ publicKey }) => bytesOf(publicKey)))
    return { add: [], remove: gone.filter(({ publicKey }) => !left.has(bytesOf(publicKey))).map(lineOf) }
  })
}

/** Writes the rows and opens the action, in one transaction; `key_name` follows. */
async function changeKeys(
  { cloud, caller, serverId }: ActionCall<unknown>,
  name: 'attachKeypairs' | 'detachKeypairs',
  write: (tx: Tx, serverId: string) => Promise<KeyChange>,
): Promise<void> {
  await afterDeviceChanges(cloud, serverId, SPOKEN[name], () =>
    cloud.db.transaction(async (tx) => {
      const now = cloud.clock.now()
      await getServer(tx, caller, serverId)
      // Changes nothing, but of two at once the second waits here, and sees what the first wrote.
      await updateServer(tx, serverId, {}, now)
      const server = await getServer(tx, caller, serverId)
      assertStartable(server, name, caller.isAdmin)
      const change = await write(tx, serverId)
      // Where the image says that nobody can be asked, there is nobody to tell.
      if (hardwareOf(imagePropertiesOf(server)).hasAgent) {
        await writeUntold(tx, serverId, mergeChanges(readUntold(server.untoldKeys), change))
      }
      const [first] = await listServerKeypairs(tx, serverId)
      await updateServer(tx, serverId, { keyName: first?.name ?? null }, now)
      await demandNoDeviceChange(tx, serverId)
      await acceptAction(tx, cloud.actions[name], serverId, null, caller, now)
      tx.onCommit(() => cloud.runner.nudge())
    }),
  )
}

async function readKeypairs(tx: Tx, { userId }: Caller, names: ReadonlySet<string>): Promise<ServerKeypair[]> {
  const keypairs: ServerKeypair[] = []
  const unknown: string[] = []
  for (const name of names) {
    const keypair = await findKeypair(tx, userId, name)
    if (keypair) keypairs.push(keypair)
    else unknown.push(name)
  }
  if (unknown.length === 0) return keypairs
  const listed = unknown.map((name) => `'${name}'`).join(', ')
  throw new ApiError(
    'badRequest',
    `Keypair${unknown.length > 1 ? 's' : ''} ${listed} could not be found for user ${userId}.`,
  )
}

/** As it stands in `authorized_keys`. */
const lineOf = ({ publicKey }: ServerKeypair): string => publicKey.trim()
