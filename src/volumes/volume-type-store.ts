import type { Reader, Tx } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { VolumeViewer } from './volume-store.ts'

export type VolumeType = Row<'volumeTypes'>

/** The types every installation begins with, by ids that are the same everywhere. The first one is the default. */
const SEEDED: readonly Pick<VolumeType, 'id' | 'name' | 'description'>[] = [
  { id: '3e1f9f1c-6f0b-4b0e-9d6c-5a1d7c5e0001', name: 'ssd', description: 'Fast disks' },
  { id: '3e1f9f1c-6f0b-4b0e-9d6c-5a1d7c5e0002', name: 'sata', description: 'Large disks' },
]

/** Writes the types of a fresh cloud. What an admin changed or deleted since stays so: only an empty table is filled. */
export async function seedVolumeTypes(tx: Tx, now: number): Promise<void> {
  if (await tx.selectFrom('volumeTypes').select('id').limit(1).executeTakeFirst()) return
  const common = { isPublic: 1, extraSpecs: '{}', createdAt: now, updatedAt: now } as const
  await tx
    .insertInto('volumeTypes')
    .values(SEEDED.map((type) => ({ ...type, ...common })))
    .execute()
}

/** The type of volumes that wish for none: the one configured, or the oldest; undefined when there is none at all. */
export async function readDefaultType(read: Reader, name = SEEDED[0]?.name ?? ''): Promise<VolumeType | undefined> {
  const types = await read
    .selectFrom('volumeTypes')
    .selectAll()
    .where('isPublic', '=', 1)
    .orderBy('createdAt')
    .execute()
  return types.find((type) => type.name === name) ?? types[0]
}

/** Every type the caller may use, newest first: public ones, and those opened to the project; admins see all. */
export async function listTypes(read: Reader, { projectId, isAdmin }: VolumeViewer): Promise<VolumeType[]> {
  return read
    .selectFrom('volumeTypes')
    .selectAll()
    .$if(!isAdmin, (some) =>
      some.where((eb) =>
        eb.or([
          eb('isPublic', '=', 1),
          eb('id', 'in', read.selectFrom('volumeTypeAccess').select('typeId').where('projectId', '=', projectId)),
        ]),
      ),
    )
    .orderBy('createdAt', 'desc')
    .orderBy('id', 'desc')
    .execute()
}

/** The type the caller means, by id or else by name; undefined when there is none such, or it is not for the project. */
export async function findType(read: Reader, viewer: VolumeViewer, idOrName: string): Promise<VolumeType | undefined> {
  const types = await listTypes(read, viewer)
  return types.find(({ id }) => id === idOrName) ?? types.find(({ name }) => name === idOrName)
}

/** Names of types by their ids. */
export async function readTypeNames(read: Reader): Promise<Map<string, string>> {
  const types = await read.selectFrom('volumeTypes').select(['id', 'name']).execute()
  return new Map(types.map(({ id, name }) => [id, name]))
}
