import type { Reader } from '../db/database.ts'
import { ApiError } from '../http/api-error.ts'

export type CopySource = { volumeId: string } | { snapshotId: string }

/** A volume that is being made from it. */
export async function findCopy(read: Reader, source: CopySource): Promise<string | undefined> {
  const [column, id] =
    'volumeId' in source ? (['sourceVolumeId', source.volumeId] as const) : (['snapshotId', source.snapshotId] as const)
  // Compute makes the bytes of its servers' volumes itself, before anybody has them.
  const copy = await read
    .selectFrom('volumes')
    .leftJoin('blockDevices', 'blockDevices.volumeId', 'volumes.id')
    .select('volumes.id')
    .where(`volumes.${column}`, '=', id)
    .where((eb) =>
      eb.or([
        eb('volumes.status', 'in', ['creating', 'downloading']),
        eb.and([eb('blockDevices.isMadeForServer', '=', 1), eb('blockDevices.attachedAt', 'is', null)]),
      ]),
    )
    .executeTakeFirst()
  return copy?.id
}

/**
 * Nothing goes while a volume is being made from it.
 * @throws ApiError badRequest.
 */
export async function demandUncopied(read: Reader, source: CopySource): Promise<void> {
  const copy = await findCopy(read, source)
  if (copy === undefined) return
  const named = 'volumeId' in source ? `Volume ${source.volumeId}` : `Snapshot ${source.snapshotId}`
  throw new ApiError('badRequest', `${named} is being copied to volume ${copy}; try again later.`)
}
