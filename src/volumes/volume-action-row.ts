import type { Static, TSchema } from 'typebox'
import type { Cloud } from '../cloud.ts'
import type { Tx } from '../db/database.ts'
import type { VolumeStatus } from '../db/volume-schema.ts'
import { ApiError } from '../http/api-error.ts'
import type { VolumeCall } from './volume-api.ts'
import type { Volume } from './volume-store.ts'

/** What an action of `POST …/volumes/{id}/action` is given. */
export interface VolumeActionCall<Body = unknown> extends VolumeCall {
  cloud: Cloud
  tx: Tx
  /** Nobody else changes it until the transaction ends. */
  volume: Volume
  /** What stands under the action's name. */
  wish: Body
}

/** One action of `POST …/volumes/{id}/action`. */
export interface VolumeActionRow {
  body: TSchema
  status: 200 | 202
  /** Only admins may ask for it. */
  isForAdmins: boolean
  /** The minor version it came with. */
  since: number
  /** In the transaction that holds the volume. What it returns is the answer. */
  accept(call: VolumeActionCall): Promise<unknown>
}

/** Lets the type of the body follow from its schema. */
export const row = <Body extends TSchema>(
  body: Body,
  { status = 202, isForAdmins = false, since = 0 }: Partial<Pick<VolumeActionRow, 'status' | 'isForAdmins' | 'since'>>,
  accept: (call: VolumeActionCall<Static<Body>>) => Promise<unknown>,
): VolumeActionRow => ({ body, status, isForAdmins, since, accept: accept as VolumeActionRow['accept'] })

/**
 * Demands that the volume is in one of these statuses.
 * @throws ApiError badRequest, as Cinder answers, with the statuses that would do.
 */
export function demandStatus(volume: Volume, allowed: readonly VolumeStatus[], spoken: string): void {
  if (allowed.includes(volume.status)) return
  throw new ApiError(
    'badRequest',
    `Cannot ${spoken} volume ${volume.id}: it must be ${allowed.join(' or ')}, and is ${volume.status}.`,
  )
}

/** The name of the action that a body asks for. @throws ApiError badRequest when it asks for none, or several. */
export function readActionName(body: Readonly<Record<string, unknown>>): string {
  const [name, ...others] = Object.keys(body)
  if (name !== undefined && others.length === 0) return name
  throw new ApiError('badRequest', 'The body must have one member, which names the action.')
}
