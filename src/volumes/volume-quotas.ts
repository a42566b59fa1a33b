import type { Cloud } from '../cloud.ts'
import type { Reader, Tx } from '../db/database.ts'
import { ApiError } from '../http/api-error.ts'

/** What a project may have, or has, by the names Cinder gives: `volumes`, `gigabytes`, `volumes_ssd` … */
export type VolumeFigures = Record<string, number>

/** What is asked for, on top of what is there. */
export interface VolumeDemand {
  volumes?: number
  snapshots?: number
  /** Of volumes and snapshots together, GiB. */
  gigabytes?: number
  /** The type of the volume, or of the one the snapshot is of; its own limits count too. */
  typeName: string
}

const COUNTED = ['volumes', 'snapshots', 'gigabytes'] as const

/** What a project may have unless an admin said otherwise; -1: no limit. Source: shared/spec/neighbours.md §5. */
export function defaultVolumeQuotas(cloud: Pick<Cloud, 'config'>, typeNames: readonly string[]): VolumeFigures {
  const { quotaVolumes, quotaSnapshots, quotaVolumeGib } = cloud.config
  const ofTypes = typeNames.flatMap((name) => COUNTED.map((what) => [`${what}_${name}`, -1] as const))
  return {
    volumes: quotaVolumes,
    snapshots: quotaSnapshots,
    gigabytes: quotaVolumeGib,
    per_volume_gigabytes: -1,
    backups: 0,
    backup_gigabytes: 0,
    groups: 0,
    ...Object.fromEntries(ofTypes),
  }
}

const listTypeNames = async (read: Reader): Promise<string[]> =>
  (await read.selectFrom('volumeTypes').select('name').orderBy('name').execute()).map(({ name }) => name)

/** What a project may have, limit by limit; those of types included. */
export async function readVolumeQuotas(
  cloud: Pick<Cloud, 'config'>,
  read: Reader,
  projectId: string,
): Promise<VolumeFigures> {
  const defaults = defaultVolumeQuotas(cloud, await listTypeNames(read))
  const rows = await read.selectFrom('volumeQuotas').selectAll().where('projectId', '=', projectId).execute()
  // A limit of a type that went says nothing any more.
  const known = rows.filter(({ resource }) => Object.hasOwn(defaults, resource))
  return { ...defaults, ...Object.fromEntries(known.map(({ resource, most }) => [resource, most])) }
}

/** What a project has. What is being made or extended counts as if it were done: `reserved` is what extending adds. */
export async function readVolumeUse(
  read: Reader,
  projectId: string,
): Promise<{ inUse: VolumeFigures; reserved: VolumeFigures }> {
  const inUse: VolumeFigures = { volumes: 0, snapshots: 0, gigabytes: 0 }
  const reserved: VolumeFigures = {}
  const add = (figures: VolumeFigures, what: string, typeName: string, count: number) => {
    figures[what] = (figures[what] ?? 0) + count
    figures[`${what}_${typeName}`] = (figures[`${what}_${typeName}`] ?? 0) + count
  }
  const volumes = await read
    .selectFrom('volumes')
    .innerJoin('volumeTypes', 'volumeTypes.id', 'volumes.typeId')
    .select(['volumes.id', 'sizeGib', 'status', 'volumeTypes.name as typeName'])
    .where('projectId', '=', projectId)
    .execute()
  for (const { sizeGib, typeName } of volumes) {
    add(inUse, 'volumes', typeName, 1)
    add(inUse, 'gigabytes', typeName, sizeGib)
  }
  const snapshots = await read
    .selectFrom('volumeSnapshots')
    .innerJoin('volumes', 'volumes.id', 'volumeSnapshots.volumeId')
    .innerJoin('volumeTypes', 'volumeTypes.id', 'volumes.typeId')
    .select(['volumeSnapshots.sizeGib', 'volumeTypes.name as typeName'])
    .where('volumeSnapshots.projectId', '=', projectId)
    .execute()
  for (const { sizeGib, typeName } of snapshots) {
    add(inUse, 'snapshots', typeName, 1)
    add(inUse, 'gigabytes', typeName, sizeGib)
  }
  const growing = new Map(volumes.filter(({ status }) => status === 'extending').map((volume) => [volume.id, volume]))
  if (growing.size > 0) {
    const actions = await read
      .selectFrom('actions')
      .select(['resourceId', 'input'])
      .where('resourceId', 'in', [...growing.keys()])
      .where('name', '=', 'extendVolume')
      .where('isOpen', '=', 1)
      .execute()
    for (const { resourceId, input } of actions) {
      const volume = growing.get(resourceId)
      const { newSizeGib } = JSON.parse(input) as { newSizeGib: number }
      if (volume) add(reserved, 'gigabytes', volume.typeName, newSizeGib - volume.sizeGib)
    }
  }
  return { inUse, reserved }
}

/**
 * Checks that the project may have so much more, in the transaction that makes it.
 * @param options.isOnlyOfType asks for the limits of the type alone: it is there already, of another type.
 * @throws ApiError overLimit, as Cinder answers.
 */
export async function assertVolumeQuota(
  cloud: Pick<Cloud, 'config'>,
  tx: Tx,
  projectId: string,
  { typeName, ...demand }: VolumeDemand,
  { isOnlyOfType = false }: { isOnlyOfType?: boolean } = {},
): Promise<void> {
  // Takes turns on the project: of two at once, both would see room for one.
  await tx
    .updateTable('projects')
    .set((project) => ({ isEnabled: project.ref('isEnabled') }))
    .where('id', '=', projectId)
    .execute()
  const quotas = await readVolumeQuotas(cloud, tx, projectId)
  const { inUse, reserved } = await readVolumeUse(tx, projectId)
  for (const what of COUNTED) {
    const more = demand[what] ?? 0
    if (more <= 0) continue
    for (const name of isOnlyOfType ? [`${what}_${typeName}`] : [what, `${what}_${typeName}`]) {
      const most = quotas[name] ?? -1
      const used = (inUse[name] ?? 0) + (reserved[name] ?? 0)
      if (most < 0 || used + more <= most) continue
      throw overQuota(`Quota exceeded for ${name}: requested ${more}, already used ${used} of ${most}.`)
    }
  }
}

/**
 * Checks that a volume may be so large.
 * @throws ApiError overLimit, as Cinder answers.
 */
export async function assertVolumeSize(
  cloud: Pick<Cloud, 'config'>,
  read: Reader,
  projectId: string,
  sizeGib: number,
): Promise<void> {
  const most = (await readVolumeQuotas(cloud, read, projectId)).per_volume_gigabytes ?? -1
  if (most < 0 || sizeGib <= most) return
  throw overQuota(`Quota exceeded for per_volume_gigabytes: requested ${sizeGib}, the limit is ${most}.`)
}

export const overQuota = (message: string): ApiError =>
  new ApiError('overLimit', message, { headers: { 'retry-after': '0' } })
