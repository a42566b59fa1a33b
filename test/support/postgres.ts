/**
 * PostgreSQL from Debian's package, on a socket in a temporary directory, as an unprivileged user. `./novella test`
 * starts one for the whole run and says where in NOVELLA_TEST_POSTGRES; a test file run alone starts its own.
 */
import { execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chownSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { openDatabase } from '../../src/db/database.ts'
import { closeKept, keepConnections, keptPids } from './kept-connections.ts'

const run = promisify(execFile)
/** Databases are made from this one, which has all tables. */
const TEMPLATE = 'novella_template'
const PACKAGES = '/usr/lib/postgresql'

export interface PostgresServer extends AsyncDisposable {
  /** The socket directory, for `postgres:///name?host=…`. */
  directory: string
  /** A new database there, with all tables. */
  newDatabase(): Promise<string>
  /** Ends the server at once, as a crash does; its databases stay. */
  crash(): Promise<void>
  /** Starts it again after a crash. */
  restart(): Promise<void>
}

/** Starts a server that forgets durability, which tests of our code do not need from it. */
export async function startPostgres(): Promise<PostgresServer> {
  const version = existsSync(PACKAGES) ? readdirSync(PACKAGES).sort((a, b) => Number(b) - Number(a))[0] : undefined
  if (!version) throw new Error('PostgreSQL is missing: apt-get install postgresql')
  const bin = join(PACKAGES, version, 'bin')
  const directory = mkdtempSync(join(tmpdir(), 'novella-postgres-'))
  const user = readFileSync('/etc/passwd', 'utf8').match(/^postgres:[^:]*:(\d+):(\d+):/m)
  if (!user) throw new Error('There is no user postgres to run the database as.')
  const ids = { uid: Number(user[1]), gid: Number(user[2]) }
  chownSync(directory, ids.uid, ids.gid)
  const data = join(directory, 'data')
  // The default locale of a bare machine is not installed; C is everywhere.
  const env = { ...process.env, LC_ALL: 'C' }
  await run(join(bin, 'initdb'), ['-D', data, '-U', 'novella', '-A', 'trust', '-E', 'UTF8', '--no-sync'], {
    ...ids,
    env,
    cwd: directory,
  })
  const settings = { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off', max_connections: '300' }
  const options = Object.entries(settings).flatMap(([key, value]) => ['-c', `${key}=${value}`])
  const start = () => {
    const server = spawn(join(bin, 'postgres'), ['-D', data, '-k', directory, '-h', '', ...options], {
      ...ids,
      env,
      cwd: directory,
      stdio: 'ignore',
    })
    return { server, exited: new Promise((resolve) => server.once('exit', resolve)) }
  }
  let running = start()
  const crash = async () => {
    running.server.kill('SIGQUIT')
    await running.exited
  }
  const stop = async () => {
    // At once: its files are thrown away anyway.
    await crash()
    rmSync(directory, { recursive: true, force: true })
  }
  try {
    await untilAnswers(directory, running.server)
    await ask(directory, 'postgres', `create database ${TEMPLATE}`)
    const template = await openDatabase(urlOf(directory, TEMPLATE))
    await template[Symbol.asyncDispose]()
    // Databases are not made from one that somebody is connected to.
    await closeKept()
  } catch (error) {
    await stop()
    throw error
  }
  return {
    directory,
    newDatabase: () => newDatabaseIn(directory),
    crash,
    async restart() {
      running = start()
      await untilAnswers(directory, running.server)
    },
    [Symbol.asyncDispose]: stop,
  }
}

const urlOf = (directory: string, database: string): string =>
  `postgres://novella@localhost/${database}?host=${encodeURIComponent(directory)}`

async function ask(directory: string, database: string, query: string): Promise<void> {
  const client = new pg.Client({ connectionString: urlOf(directory, database) })
  await client.connect()
  try {
    await client.query(query)
  } finally {
    await client.end()
  }
}

async function untilAnswers(directory: string, server: { exitCode: number | null }): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      return await ask(directory, 'postgres', 'select 1')
    } catch (error) {
      if (server.exitCode !== null || tries > 300) throw error
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}

let own: Promise<PostgresServer> | undefined

/** Databases of this process that are empty again: to make one takes ten times as long as to empty it. */
const idle: { directory: string; url: string }[] = []

/** A database with all tables and no rows; dispose gives it back. */
export async function newPostgresDatabase(): Promise<{ url: string } & AsyncDisposable> {
  // Nobody may be connected to a database that others are made from.
  keepConnections((url) => nameOf(url) !== TEMPLATE)
  const directory = process.env.NOVELLA_TEST_POSTGRES ?? (await ownServer()).directory
  const at = idle.findIndex((one) => one.directory === directory)
  const url = at >= 0 ? (idle.splice(at, 1)[0]?.url ?? '') : await newDatabaseIn(directory)
  return {
    url,
    async [Symbol.asyncDispose]() {
      try {
        await empty(directory, nameOf(url))
        idle.push({ directory, url })
      } catch {
        await drop(directory, nameOf(url))
      }
    },
  }
}

const nameOf = (url: string): string => new URL(url).pathname.slice(1)

const drop = (directory: string, name: string): Promise<void> =>
  ask(directory, 'postgres', `drop database if exists ${name} with (force)`)

/** Takes away all rows, what counts them up, and whoever is still connected without being kept. */
async function empty(directory: string, name: string): Promise<void> {
  const pool = new pg.Pool({ connectionString: urlOf(directory, name), max: 1 })
  try {
    await pool.query(emptying([...keptPids(), 0]))
  } finally {
    await pool.end()
  }
}

const emptying = (kept: number[]): string => `
    select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid() and pid not in (${kept.join()});
    set session_replication_role = replica;
    do $$ declare one record; begin
      for one in select tablename as name from pg_tables where schemaname = 'public' and tablename not like 'kysely%' loop
        execute format('delete from %I', one.name);
      end loop;
      for one in select sequencename as name from pg_sequences where schemaname = 'public' loop
        perform setval(quote_ident(one.name)::regclass, 1, false);
      end loop;
    end $$`

async function newDatabaseIn(directory: string): Promise<string> {
  const name = `t_${randomBytes(8).toString('hex')}`
  await ask(directory, 'postgres', `create database ${name} template ${TEMPLATE}`)
  return urlOf(directory, name)
}

function ownServer(): Promise<PostgresServer> {
  own ??= startPostgres()
  return own
}

/** Ends the server that this process started for itself, if it did. */
export async function stopOwnServer(): Promise<void> {
  await closeKept()
  // The server of a whole run has the databases of all its files.
  for (const { directory, url } of idle.splice(0)) await drop(directory, nameOf(url)).catch(() => {})
  const server = await own
  own = undefined
  await server?.[Symbol.asyncDispose]()
}
