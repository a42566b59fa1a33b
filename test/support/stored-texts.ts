import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { TABLES } from './count-rows.ts'
import type { TestCloud } from './test-cloud.ts'

/** Every row of every table as text, all that was logged, and on SQLite the bytes of the database's files. */
export async function storedTexts(cloud: TestCloud): Promise<string> {
  const { db } = cloud.cloud
  const rows = await Promise.all(TABLES.map((table) => db.read.selectFrom(table).selectAll().execute()))
  const files = db.kind === 'sqlite' ? readdirSync(cloud.dataDirectory).filter((name) => /\.db/.test(name)) : []
  const bytes = files.map((name) => readFileSync(join(cloud.dataDirectory, name), 'latin1'))
  return [JSON.stringify(rows), ...cloud.logged, ...bytes].join('\n')
}
