import { type Kysely, sql } from 'kysely'
import { Migrator } from 'kysely/migration'
import { NewerDatabaseError } from '../newer-database-error.ts'
import * as identity from './0001-identity.ts'
import * as offers from './0002-offers.ts'
import * as networks from './0003-networks.ts'
import * as servers from './0004-servers.ts'
import * as actions from './0005-actions.ts'
import * as consoles from './0006-consoles.ts'
import * as idempotentAnswers from './0007-idempotent-answers.ts'
import * as routers from './0008-routers.ts'
import * as images from './0009-images.ts'
import * as volumes from './0010-volumes.ts'
import * as serverImages from './0011-server-images.ts'

const migrations = {
  '0001-identity': identity,
  '0002-offers': offers,
  '0003-networks': networks,
  '0004-servers': servers,
  '0005-actions': actions,
  '0006-consoles': consoles,
  '0007-idempotent-answers': idempotentAnswers,
  '0008-routers': routers,
  '0009-images': images,
  '0010-volumes': volumes,
  '0011-server-images': serverImages,
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
  const migrator = new Migrator({ db, provider: { getMigrations: async () => migrations } })
  const { error } = await migrator.migrateToLatest()
  if (error) throw new Error('The database could not be brought up to date.', { cause: error })
}
