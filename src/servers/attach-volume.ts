/** Accepts volumes for servers, and their end; change-disks.ts then does it. */
import { acceptAction } from '../actions/journal.ts'
import type { Cloud } from '../cloud.ts'
import type { Reader, Tx } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { MOST_DISKS } from '../host/volume-host.ts'
import { ApiError } from '../http/api-error.ts'
import type { Caller } from '../http/policy.ts'
import { hardwareOf } from '../images/hardware-of.ts'
import { isUuidLike, newId } from '../lib/ids.ts'
import { findVolume, swapVolume, type Volume } from '../volumes/volume-store.ts'
import { type BlockDevice, insertBlockDevice, listBlockDevices, updateBlockDevice } from './block-device-store.ts'
import { demandNoDeviceChange } from './device-changes.ts'
import { freeDeviceName, ROOT_DEVICE, readDeviceName } from './device-names.ts'
import { complainOfPlace } from './disk-places.ts'
import { rootDeviceOf } from './server-disks.ts'
import { assertStartable } from './server-state.ts'
import { getServer } from './server-store.ts'

/** What a body of S20 asks for. */
export interface AttachWish {
  volumeId: string
  device?: string | null | undefined
  tag?: string | null | undefined
  delete_on_termination?: boolean | undefined
}

/**
 * Accepts a volume for a server. It is the server's from now on, `attaching`, and `in-use` once it is plugged in.
 * @throws ApiError itemNotFound for server or volume; badRequest for a volume that is not available or elsewhere, or a
 * bad device name; forbidden for too many disks; conflictingRequest for the server's state, or a name in use.
 */
export async function acceptAttachVolume(
  cloud: Cloud,
  tx: Tx,
  caller: Caller,
  serverId: string,
  wish: AttachWish,
): Promise<BlockDevice> {
  const { volumeId } = wish
  if (!isUuidLike(volumeId)) throw new ApiError('badRequest', `'volumeId' is not a UUID: ${volumeId}.`)
  const wished = wish.device ? readDeviceName(wish.device) : undefined
  const server = await getServer(tx, caller, serverId)
  assertStartable(server, 'attachVolume', caller.isAdmin)
  await demandNoDeviceChange(tx, serverId)
  const devices = await listBlockDevices(tx, serverId)
  const deviceName = chooseName(serverId, devices, wished)
  const volume = await takeVolume(cloud, tx, server, volumeId)
  const complaint = complainOfPlace(hardwareOf(JSON.parse(server.imageProperties)), {
    ...{ diskBus: null, deviceType: 'disk', isReadOnly: volume.isReadOnly },
  })
  if (complaint !== undefined) throw new ApiError('badRequest', `Volume ${volumeId} cannot be attached: ${complaint}`)
  const now = cloud.clock.now()
  const device: BlockDevice = {
    id: newId(),
    serverId,
    volumeId,
    content: 'volume',
    sizeMib: 0,
    deviceName,
    bootIndex: null,
    isDeletedWithServer: wish.delete_on_termination === true ? 1 : 0,
    isMadeForServer: 0,
    status: 'attaching',
    tag: wish.tag ?? null,
    diskBus: null,
    deviceType: 'disk',
    isReadOnly: volume.isReadOnly,
    createdAt: now,
    attachedAt: null,
  }
  await insertBlockDevice(tx, device)
  await acceptAction(tx, cloud.actions.attachVolume, serverId, { volumeId }, caller, now)
  tx.onCommit(() => cloud.runner.nudge())
  return device
}

/**
 * Accepts that a volume goes.
 * @throws ApiError itemNotFound for the server, or a volume it does not have; badRequest for what it boots from, or a
 * volume that something else is being done with; conflictingRequest for the server's state.
 */
export async function acceptDetachVolume(
  cloud: Cloud,
  tx: Tx,
  caller: Caller,
  serverId: string,
  volumeId: string,
): Promise<void> {
  const server = await getServer(tx, caller, serverId)
  assertStartable(server, 'detachVolume', caller.isAdmin)
  await demandNoDeviceChange(tx, serverId)
  const device = await getAttachment(tx, serverId, volumeId)
  if (device.id === rootDeviceOf(server, await listBlockDevices(tx, serverId))?.id) {
    throw new ApiError(
      'badRequest',
      `Volume ${volumeId} is what instance ${serverId} boots from; it cannot be detached.`,
    )
  }
  const now = cloud.clock.now()
  if (!(await swapVolume(tx, volumeId, ['in-use', 'error'], { status: 'detaching' }, now))) {
    throw new ApiError(
      'badRequest',
      `Volume ${volumeId} must be in-use to be detached; something else is under way with it.`,
    )
  }
  await updateBlockDevice(tx, device.id, { status: 'detaching' })
  await acceptAction(tx, cloud.actions.detachVolume, serverId, { volumeId }, caller, now)
  tx.onCommit(() => cloud.runner.nudge())
}

/**
 * The attachment of a volume to a server.
 * @throws ApiError itemNotFound when the server does not have it.
 */
export async function getAttachment(read: Reader, serverId: string, volumeId: string): Promise<BlockDevice> {
  const device = (await listBlockDevices(read, serverId)).find((one) => one.volumeId === volumeId)
  if (device) return device
  throw new ApiError('itemNotFound', `Instance ${serverId} has no volume ${volumeId}.`)
}

function chooseName(serverId: string, devices: readonly BlockDevice[], wished: string | undefined): string {
  const taken = [ROOT_DEVICE, ...devices.map(({ deviceName }) => deviceName)]
  if (wished !== undefined && taken.includes(wished)) {
    throw new ApiError('conflictingRequest', `The device ${wished} of instance ${serverId} is in use.`)
  }
  if (devices.length >= MOST_DISKS) {
    throw new ApiError('forbidden', `Instance ${serverId} has ${MOST_DISKS} disks, and takes no more.`)
  }
  return wished ?? freeDeviceName(taken)
}

/** Of two that want a volume at once, one gets it. It must belong to the server's project, whoever asks. */
async function takeVolume(cloud: Cloud, tx: Tx, server: Row<'servers'>, volumeId: string): Promise<Volume> {
  const volume = await findVolume(tx, { projectId: server.projectId, isAdmin: false }, volumeId)
  if (!volume) throw new ApiError('itemNotFound', `Volume ${volumeId} could not be found.`)
  const { availabilityZone: zone, hostName } = volume
  if (zone !== server.availabilityZone) {
    const message = `Volume ${volumeId} is in zone ${zone}, and instance ${server.id} in ${server.availabilityZone}.`
    throw new ApiError('badRequest', message)
  }
  if (hostName !== null && hostName !== server.hostName) {
    throw new ApiError('badRequest', `Volume ${volumeId} lies on another host than instance ${server.id} runs on.`)
  }
  if (await swapVolume(tx, volumeId, ['available'], { status: 'attaching' }, cloud.clock.now())) {
    // Until now others could change it, or give it away; what they did shows now.
    const taken = await findVolume(tx, { projectId: server.projectId, isAdmin: false }, volumeId)
    if (!taken) throw new ApiError('itemNotFound', `Volume ${volumeId} could not be found.`)
    return taken
  }
  throw new ApiError('badRequest', `Volume ${volumeId} must be available to be attached; it is ${volume.status}.`)
}
