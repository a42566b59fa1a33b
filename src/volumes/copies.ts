import type { Reader } from '../db/database.ts'
import { ApiError } from '../http/api-error.ts'

/**
 * Nothing goes while a volume is being made from it.
 * @throws ApiError badRequest.
 */
export async function demandUncopied(
  read: Reader,
  source: { volumeId: string } | { snapshotId: string },
): Promise<void> {
  const [column, id, kind] =
    'volumeId' in source
      ? (['sourceVolumeId', source.volumeId, 'Volume'] as const)
      : (['snapshotId', source.snapshotId, 'Snapshot'] as const)
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
  if (copy) throw new ApiError('badRequest', `${kind} ${id} is being copied to volume ${copy.id}; try again later.`)
}
