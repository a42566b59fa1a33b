import type { Action } from '../actions/action.ts'
import type { Reader } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { VolumeSource } from '../host/volume-host.ts'
import { listHosts } from '../hosts/host-store.ts'
import { ApiError } from '../http/api-error.ts'
import { pickHost } from '../scheduler/pick-host.ts'
import {
  COPY_DEADLINE_MS,
  failedAs,
  restAfter,
  type VolumeParts,
  type VolumeSubject,
  volumeAction,
} from './volume-action.ts'
import { updateVolume, type Volume } from './volume-store.ts'

type Step = 'pickHost' | 'makeVolume' | 'cleanUp'

/**
 * Brings the bytes of a volume whose row is there.
 *
 *   pickHost `creating` → makeVolume `creating`, from an image `downloading`        available
 *        └────────────────────┴──→ cleanUp                                          error, and nothing left but the row
 */
export function createVolume(parts: VolumeParts): Action<null, Step, VolumeSubject> {
  const { db, clock } = parts
  return volumeAction<null, Step>(parts, {
    name: 'createVolume',
    first: 'pickHost',
    deadlineMs: COPY_DEADLINE_MS,
    steps: {
      async pickHost({ volume }) {
        const hostName = await pickVolumeHost(parts, db.read, volume)
        const status = volume.imageId === null ? 'creating' : 'downloading'
        return { go: 'makeVolume', save: (tx) => updateVolume(tx, volume.id, { hostName, status }, clock.now()) }
      },
      async makeVolume({ volume, host }) {
        await host.ensureVolume({ volumeId: volume.id, sizeGib: volume.sizeGib, source: sourceOf(volume) })
        const task = volume.imageId === null ? 'creating' : 'downloading'
        return { done: true, save: (tx) => restAfter(parts, tx, volume.id, task, { faultMessage: null }) }
      },
      async cleanUp(subject) {
        const { volume } = subject
        if (volume.hostName !== null) await subject.host.removeVolume(volume.id)
        const change = { status: 'error', hostName: null } as const
        return { done: true, save: (tx) => updateVolume(tx, volume.id, change, clock.now()) }
      },
    },
    failed: ({ volume }, error) => ({
      go: 'cleanUp',
      save: (tx) => updateVolume(tx, volume.id, { faultMessage: error.message }, clock.now()),
    }),
    abandoned: (tx, volumeId, error) => failedAs(parts, volumeId, 'error', error)(tx),
  })
}

/** What a volume's bytes begin as. */
export function sourceOf({ imageId, snapshotId, sourceVolumeId }: Volume): VolumeSource | null {
  if (imageId !== null) return { kind: 'image', imageId }
  if (snapshotId !== null) return { kind: 'snapshot', snapshotId }
  return sourceVolumeId === null ? null : { kind: 'volume', volumeId: sourceVolumeId }
}

/**
 * Where a volume goes: to its source, or where servers would go that take as much disk.
 * @throws ApiError conflictingRequest with why no host takes it.
 */
export async function pickVolumeHost(
  { config }: Pick<VolumeParts, 'config'>,
  read: Reader,
  volume: Volume,
): Promise<string> {
  if (volume.hostName !== null) return volume.hostName
  const pinned = await hostOfSource(read, volume)
  const hosts = (await listHosts(read)).filter(({ name }) => pinned === null || name === pinned)
  const wanted = { vcpus: 0, ramMib: 0, diskGib: volume.sizeGib, availabilityZone: volume.availabilityZone }
  const ratios = { cpu: config.cpuRatio, ram: config.ramRatio, disk: config.diskRatio }
  const picked = pickHost(await withVolumes(read, hosts), wanted, ratios)
  if ('hostName' in picked) return picked.hostName
  throw new ApiError('conflictingRequest', `No valid host was found. ${picked.refusals.join(' ')}`.trim())
}

/**
 * Demands that the host of a volume has so much more to give out.
 * @throws ApiError conflictingRequest with how much there is.
 */
export async function demandRoomToGrow(
  { config }: Pick<VolumeParts, 'config'>,
  read: Reader,
  { id, hostName }: Volume,
  moreGib: number,
): Promise<void> {
  const own = (await listHosts(read)).filter(({ name }) => name === hostName)
  // A host that takes nothing new still has what it has.
  const hosts = (await withVolumes(read, own)).map((host) => ({ ...host, isEnabled: 1 }) as const)
  const wanted = { vcpus: 0, ramMib: 0, diskGib: moreGib, availabilityZone: '' }
  const picked = pickHost(hosts, wanted, { cpu: config.cpuRatio, ram: config.ramRatio, disk: config.diskRatio })
  if ('hostName' in picked) return
  throw new ApiError('conflictingRequest', `Volume ${id} cannot be extended. ${picked.refusals.join(' ')}`.trim())
}

/** Disks are copied from disks of the same host; an image is on all of them. */
async function hostOfSource(read: Reader, { snapshotId, sourceVolumeId }: Volume): Promise<string | null> {
  const sourceId =
    snapshotId === null
      ? sourceVolumeId
      : (await read.selectFrom('volumeSnapshots').select('volumeId').where('id', '=', snapshotId).executeTakeFirst())
          ?.volumeId
  if (sourceId === null || sourceId === undefined) return null
  const source = await read.selectFrom('volumes').select('hostName').where('id', '=', sourceId).executeTakeFirst()
  return source?.hostName ?? null
}

/** Hosts as the scheduler sees them, with the disk that volumes and their snapshots may come to take. */
async function withVolumes(read: Reader, hosts: readonly Row<'hosts'>[]): Promise<Row<'hosts'>[]> {
  const volumes = await read
    .selectFrom('volumes')
    .select(({ fn }) => ['hostName', fn.sum<number>('sizeGib').as('gib')])
    .groupBy('hostName')
    .execute()
  const snapshots = await read
    .selectFrom('volumeSnapshots')
    .innerJoin('volumes', 'volumes.id', 'volumeSnapshots.volumeId')
    .select(({ fn }) => ['hostName', fn.sum<number>('volumeSnapshots.sizeGib').as('gib')])
    .groupBy('hostName')
    .execute()
  const gibOf = (hostName: string) =>
    [...volumes, ...snapshots].filter((one) => one.hostName === hostName).reduce((sum, { gib }) => sum + Number(gib), 0)
  return hosts.map((host) => ({ ...host, claimedDiskGib: host.claimedDiskGib + gibOf(host.name) }))
}
