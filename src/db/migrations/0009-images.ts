import { type Kysely, sql } from 'kysely'

const KEPT = [
  ...['id', 'projectId', 'name', 'status', 'visibility', 'diskFormat', 'containerFormat', 'sizeBytes'],
  ...['virtualSizeBytes', 'checksum', 'hashAlgorithm', 'hashValue', 'minDiskGib', 'minRamMib', 'isProtected'],
  ...['tags', 'properties', 'createdAt', 'updatedAt'],
]

/** Images of users: what is not known before there are bytes may be null, which SQLite cannot change in place. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.alterTable('images').renameTo('imagesBefore').execute()
  await db.schema
    .createTable('images')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('projectId', 'text')
    .addColumn('name', 'text')
    .addColumn('status', 'text', (c) => c.notNull())
    .addColumn('visibility', 'text', (c) => c.notNull())
    .addColumn('diskFormat', 'text')
    .addColumn('containerFormat', 'text')
    .addColumn('sizeBytes', 'bigint')
    .addColumn('virtualSizeBytes', 'bigint')
    .addColumn('checksum', 'text')
    .addColumn('hashAlgorithm', 'text')
    .addColumn('hashValue', 'text')
    .addColumn('minDiskGib', 'integer', (c) => c.notNull())
    .addColumn('minRamMib', 'integer', (c) => c.notNull())
    .addColumn('isProtected', 'integer', (c) => c.notNull())
    .addColumn('isHidden', 'integer', (c) => c.notNull().defaultTo(0))
    .addColumn('tags', 'text', (c) => c.notNull())
    .addColumn('properties', 'text', (c) => c.notNull())
    .addColumn('verdict', 'text')
    .addColumn('createdAt', 'bigint', (c) => c.notNull())
    .addColumn('updatedAt', 'bigint', (c) => c.notNull())
    .execute()
  const columns = sql.join(KEPT.map((name) => sql.ref(name)))
  await sql`insert into images (${columns}) select ${columns} from ${sql.table('imagesBefore')}`.execute(db)
  await db.schema.dropTable('imagesBefore').execute()
  await db.schema.createIndex('imagesByCreation').on('images').columns(['createdAt desc', 'id desc']).execute()

  await db.schema
    .createTable('imageMembers')
    .addColumn('imageId', 'text', (c) => c.notNull().references('images.id').onDelete('cascade'))
    .addColumn('memberId', 'text', (c) => c.notNull())
    .addColumn('status', 'text', (c) => c.notNull())
    .addColumn('createdAt', 'bigint', (c) => c.notNull())
    .addColumn('updatedAt', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('imageMembersKey', ['imageId', 'memberId'])
    .execute()
  await db.schema.createIndex('imagesOfMember').on('imageMembers').column('memberId').execute()
}
