/** Volumes for tests about servers: as the volume service leaves them, row and bytes. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { Row } from '../../src/db/schema.ts'
import { insertVolume } from '../../src/volumes/volume-store.ts'
import { readDefaultType } from '../../src/volumes/volume-type-store.ts'
import type { Answer, TestCloud } from './test-cloud.ts'

type Volume = Row<'volumes'>

/** An available volume of the member's project, 1 GiB unless said otherwise; its id. */
export async function addVolume(cloud: TestCloud, change: Partial<Volume> = {}): Promise<string> {
  const { db, clock, config } = cloud.cloud
  const id = randomUUID()
  const type = (await readDefaultType(db.read)) ?? assert.fail('there is no volume type')
  const { projectId, userId } = cloud.member
  const volume = {
    id,
    projectId,
    userId,
    name: 'data',
    sizeGib: 1,
    typeId: type.id,
    availabilityZone: config.availabilityZone,
    status: 'available',
    hostName: 'test-host',
    ...change,
  } as const
  await db.transaction((tx) => insertVolume(tx, volume, clock.now()))
  cloud.machine.volumes.set(id, { sizeGib: volume.sizeGib, source: null })
  return id
}

/** An available snapshot of a volume; its id. */
export async function addSnapshot(cloud: TestCloud, volumeId: string): Promise<string> {
  const { db, clock } = cloud.cloud
  const { projectId, userId, sizeGib } =
    (await findVolumeRow(cloud, volumeId)) ?? assert.fail('there is no such volume')
  const id = randomUUID()
  const now = clock.now()
  await db.transaction((tx) =>
    tx
      .insertInto('volumeSnapshots')
      .values({
        ...{ id, projectId, userId, volumeId, sizeGib, name: 'snap', description: null, status: 'available' },
        ...{ metadata: '{}', faultMessage: null, createdAt: now, updatedAt: now },
      })
      .execute(),
  )
  cloud.machine.snapshots.set(id, { sizeGib })
  return id
}

export const findVolumeRow = (cloud: TestCloud, id: string): Promise<Volume | undefined> =>
  cloud.cloud.db.read.selectFrom('volumes').selectAll().where('id', '=', id).executeTakeFirst()

/** The status of a volume; `gone` when there is none. */
export const statusOf = async (cloud: TestCloud, id: string): Promise<string> =>
  (await findVolumeRow(cloud, id))?.status ?? 'gone'

/** S20. */
export const attachVolume = (
  cloud: TestCloud,
  serverId: string,
  volumeId: string,
  more: Record<string, unknown> = {},
): Promise<Answer> =>
  cloud.member.post(`/servers/${serverId}/os-volume_attachments`, { volumeAttachment: { volumeId, ...more } })

/** S21. */
export const detachVolume = (cloud: TestCloud, serverId: string, volumeId: string): Promise<Answer> =>
  cloud.member.delete(`/servers/${serverId}/os-volume_attachments/${volumeId}`)

/** Ids of the volumes that the API lists for a server, in its order. */
export async function volumesOf(cloud: TestCloud, serverId: string): Promise<string[]> {
  const answer = await cloud.member.get(`/servers/${serverId}/os-volume_attachments`)
  assert.equal(answer.statusCode, 200, answer.body)
  return answer.json().volumeAttachments.map(({ volumeId }: { volumeId: string }) => volumeId)
}

/** Ids of the disks that the running guest has. */
export const disksInGuest = (cloud: TestCloud, serverId: string): string[] => [
  ...(cloud.machine.servers.get(serverId)?.disks.keys() ?? []),
]

/** The member's project may have as many volumes and snapshots as it likes. */
export async function liftVolumeQuotas(cloud: TestCloud): Promise<void> {
  const { projectId } = cloud.member
  await cloud.cloud.db.transaction((tx) =>
    tx
      .insertInto('volumeQuotas')
      .values(['volumes', 'snapshots', 'gigabytes'].map((resource) => ({ projectId, resource, most: -1 })))
      .onConflict((conflict) => conflict.doNothing())
      .execute(),
  )
}
