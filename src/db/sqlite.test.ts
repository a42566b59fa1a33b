import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { sql } from 'kysely'
import { type Database, openDatabase, type Reader } from './database.ts'
import { prepared } from './prepared.ts'

const rolesNamed = prepared((read, { name }: { name: string }) =>
  read.selectFrom('roles').select('id').where('name', '=', name),
)
const idsOf = async (read: Reader, name: string) => (await rolesNamed(read, { name })).map(({ id }) => id)

const newTurn = () => new Promise(setImmediate)

async function withDatabase(work: (db: Database, path: string) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'novella-sqlite-'))
  try {
    const path = join(directory, 'novella.db')
    await using db = await openDatabase(path)
    await work(db, path)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

const insertRole = (db: Database, name: string) =>
  db.transaction((tx) => tx.insertInto('roles').values({ id: name, name }).execute())

test('a read in the turn of a commit sees what was committed', () =>
  withDatabase(async (db) => {
    assert.deepEqual(await idsOf(db.read, 'reader'), [])
    await insertRole(db, 'reader')
    assert.deepEqual(await idsOf(db.read, 'reader'), ['reader'])
  }))

test('a read never sees what an open transaction wrote', () =>
  withDatabase(async (db) => {
    await db.transaction(async (tx) => {
      await tx.insertInto('roles').values({ id: 'reader', name: 'reader' }).execute()
      assert.deepEqual(await idsOf(db.read, 'reader'), [])
      assert.deepEqual(await idsOf(tx, 'reader'), ['reader'])
    })
  }))

test('another connection sees through the next turn what a third wrote', () =>
  withDatabase(async (db, path) => {
    await using other = await openDatabase(path)
    assert.deepEqual(await idsOf(other.read, 'reader'), [])
    await insertRole(db, 'reader')
    await newTurn()
    assert.deepEqual(await idsOf(other.read, 'reader'), ['reader'])
  }))

test('a prepared query takes new values with each use', () =>
  withDatabase(async (db) => {
    for (const name of ['admin', 'member', "o'reader ?"]) await insertRole(db, name)
    for (const name of ['admin', 'member', "o'reader ?"]) {
      assert.deepEqual(await idsOf(db.read, name), [name])
    }
  }))

test('a full disk is what a write on it says, and it goes on once there is room', () =>
  withDatabase(async (db) => {
    const limit = (pages: number) =>
      db.transaction(async (tx) => void (await sql.raw(`pragma max_page_count = ${pages}`).execute(tx as never)))
    const long = 'x'.repeat(1_000_000)
    await limit(1)
    await assert.rejects(insertRole(db, long), (error) => {
      assert.equal(db.outageOf(error), 'full', String(error))
      return true
    })
    await limit(1_000_000)
    await insertRole(db, long)
    assert.deepEqual(await idsOf(db.read, long), [long])
    assert.equal(db.outageOf(new Error('something else')), undefined)
  }))

test('what was committed outlives a power cut: each commit waits for the disk', () =>
  withDatabase(async (db) => {
    const settings = await db.transaction(async (tx) => [
      (await sql<{ synchronous: number }>`pragma synchronous`.execute(tx as never)).rows[0]?.synchronous,
      (await sql<{ journal_mode: string }>`pragma journal_mode`.execute(tx as never)).rows[0]?.journal_mode,
    ])
    // 2 is FULL: with less, a write-ahead log loses its last commits.
    assert.deepEqual(settings, [2, 'wal'])
  }))
