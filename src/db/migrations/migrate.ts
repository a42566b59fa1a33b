import { type Kysely, sql } from 'kysely'
import { type Migration, Migrator } from 'kysely/migration'
import { NewerDatabaseError } from '../newer-database-error.ts'

/** Loaded when there is something to do, which is hardly ever. */
const migrations: Record<string, () => Promise<Migration>> = {
  '0001-identity': () => import('./0001-identity.ts'),
  '0002-offers': () => import('./0002-offers.ts'),
  '0003-networks': () => import('./0003-networks.ts'),
  '0004-servers': () => import('./0004-servers.ts'),
  '0005-actions': () => import('./0005-actions.ts'),
  '0006-consoles': () => import('./0006-consoles.ts'),
  '0007-idempotent-answers': () => import('./0007-idempotent-answers.ts'),
  '0008-routers': () => import('./0008-routers.ts'),
  '0009-images': () => import('./0009-images.ts'),
  '0010-volumes': () => import('./0010-volumes.ts'),
  '0011-server-images': () => import('./0011-server-images.ts'),
  '0012-server-keypairs': () => import('./0012-server-keypairs.ts'),
  '0013-device-kinds': () => import('./0013-device-kinds.ts'),
  '0014-personality': () => import('./0014-personality.ts'),
  '0015-untold-keys': () => import('./0015-untold-keys.ts'),
}

/**
 * Brings the tables up to date, forward only; does nothing when they are.
 * @throws NewerDatabaseError before anything is changed.
 */
export async function migrate<Schema>(db: Kysely<Schema>): Promise<void> {
  const tables = await db.introspection.getTables({ withInternalKyselyTables: true })
  if (tables.some((table) => table.name === 'kysely_migration')) {
    const { rows } = await sql<{ name: string }>`select name from kysely_migration`.execute(db)
    const unknown = rows.map((row) => row.name).filter((name) => !(name in migrations))
    if (unknown.length > 0) {
      throw new NewerDatabaseError(
        `This database was written by a newer Novella (it holds ${unknown.join(', ')}). ` +
          'Run that version again, or start with another data directory; nothing was changed.',
      )
    }
    if (rows.length === Object.keys(migrations).length) return
  }
  const migrator = new Migrator({ db, provider: { getMigrations: loadAll } })
  const { error } = await migrator.migrateToLatest()
  if (error) throw new Error('The database could not be brought up to date.', { cause: error })
}

async function loadAll(): Promise<Record<string, Migration>> {
  const loaded = Object.entries(migrations).map(async ([name, load]) => [name, await load()] as const)
  return Object.fromEntries(await Promise.all(loaded))
}
