/** The one world builder: a whole cloud in this process, on a real database and the memory host. */
import { randomUUID } from 'node:crypto'
import { copyFileSync, cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import type { InjectOptions } from 'fastify'
import { listActions } from '../../src/actions/journal.ts'
import { type Cloud, openCloud } from '../../src/cloud.ts'
import { type Config, readConfig } from '../../src/config.ts'
import type { Row } from '../../src/db/schema.ts'
import { MemoryDriver, type MemoryDriverOptions } from '../../src/host/memory/memory-driver.ts'
import { type MemoryMachine, newMemoryMachine } from '../../src/host/memory/memory-machine.ts'
import { type App, buildApp } from '../../src/http/app.ts'
import { issueToken } from '../../src/identity/issue-token.ts'
import { ManualClock } from '../../src/lib/clock.ts'
import { newLog } from '../../src/lib/log.ts'
import { prepareSeeds, seed } from '../../src/seed.ts'
import { newPostgresDatabase, stopOwnServer } from './postgres.ts'

// Here, outside of any test, it runs after the last test of the file.
after(stopOwnServer)

/** Password hashes of test users cost next to nothing. */
const CHEAP_HASHES = 4

/** When tests begin. */
const BEGIN = Date.UTC(2026, 10, 24, 12)
/**
 * How much older than all that tests make is what a cloud comes with, in milliseconds. The clock stands still, and lists
 * have things of one instant in the order of their ids, which is another one each time.
 */
const SEEDS_AGE_MS = 1_000

/** Every wire test runs on each. */
export const DATABASES = ['sqlite', 'postgres'] as const
export type DatabaseKind = (typeof DATABASES)[number]

export interface TestCloudOptions {
  database?: DatabaseKind
  config?: Partial<Config>
  memory?: Omit<MemoryDriverOptions, 'clock' | 'machine'>
  /** Servers to start with, by a short name: built for real, then written over with what is given. */
  servers?: Record<string, Partial<Row<'servers'>>>
}

/** What one user can ask; paths are under `/v2/{project}` unless they begin with `//`, which means the root. */
export interface Client {
  projectId: string
  userId: string
  token: string
  get(path: string, headers?: Record<string, string>): Promise<Answer>
  post(path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>
  put(path: string, body?: unknown): Promise<Answer>
  delete(path: string): Promise<Answer>
  request(options: InjectOptions & { url: string }): Promise<Answer>
}
export type Answer = Awaited<ReturnType<App['inject']>>

export class TestCloud implements AsyncDisposable {
  readonly id: Record<string, string> = {}
  /** What was logged, one JSON object a line. */
  readonly logged: string[] = []
  readonly clock = new ManualClock(BEGIN - SEEDS_AGE_MS)
  readonly machine: MemoryMachine = newMemoryMachine()
  cloud!: Cloud
  app!: App
  host!: MemoryDriver
  admin!: Client
  member!: Client
  #directory = mkdtempSync(join(tmpdir(), 'novella-test-'))
  #options: TestCloudOptions
  readonly #killed: string[] = []
  #database: ({ url: string } & AsyncDisposable) | undefined

  private constructor(options: TestCloudOptions) {
    this.#options = options
  }

  static async open(options: TestCloudOptions): Promise<TestCloud> {
    const world = new TestCloud(options)
    try {
      if (options.database === 'postgres') world.#database = await newPostgresDatabase()
      await world.start()
      await world.settled()
      world.clock.advance(SEEDS_AGE_MS)
      await world.settled()
      world.admin = await world.clientOf('admin', 'admin')
      world.member = await world.clientOf('demo', 'demo')
      for (const [name, change] of Object.entries(options.servers ?? {})) await world.#addServer(name, change)
      return world
    } catch (error) {
      await world[Symbol.asyncDispose]()
      throw error
    }
  }

  get dataDirectory(): string {
    return this.#directory
  }

  get config(): Config {
    const { config } = readConfig(['--data', this.#directory], {})
    const fixed = { driver: 'memory', hostName: 'test-host', database: this.#database?.url ?? '' } as const
    return { ...config, ...fixed, ...this.#options.config }
  }

  /** Starts the process (again): the machine and the database are what they were. */
  async start(): Promise<void> {
    const log = newLog({ write: (line) => void this.logged.push(line) }, 'debug')
    this.host = new MemoryDriver({
      hostName: 'test-host',
      filesDir: join(this.#directory, 'images'),
      ...this.#options.memory,
      clock: this.clock,
      machine: this.machine,
    })
    this.cloud = await openCloud(this.config, { log, clock: this.clock, host: this.host })
    this.app = await buildApp(this.cloud)
    await seed(this.cloud, 'http://localhost', await prepareSeeds(this.cloud, () => {}, { log2N: CHEAP_HASHES }))
  }

  /**
   * Ends the process as `kill -9` does: calls under way never answer, nothing is written any more. Then starts it again
   * on the same database and machine.
   */
  async killAndStart(): Promise<void> {
    const killed = this.cloud
    this.host.intercept = () => new Promise(() => {})
    await killed.db[Symbol.asyncDispose]()
    await this.app.close()
    // The dead process would have lost its lock on the data directory; in one process it is easier to move out.
    const before = this.#directory
    const database = this.config.database || join(before, 'novella.db')
    this.#directory = mkdtempSync(join(tmpdir(), 'novella-test-'))
    this.#killed.push(before)
    copyFileSync(join(before, 'secret.key'), join(this.#directory, 'secret.key'))
    const uploads = join(before, 'uploads')
    if (existsSync(uploads)) cpSync(uploads, join(this.#directory, 'uploads'), { recursive: true })
    this.#options = { ...this.#options, config: { ...this.#options.config, database } }
    await this.start()
  }

  /** Ends the process in an orderly way. */
  async stop(): Promise<void> {
    await this.app?.close()
    await this.cloud?.[Symbol.asyncDispose]()
  }

  /** A client for a seeded user in a project, with a fresh token. */
  async clientOf(userName: string, projectName: string): Promise<Client> {
    const { db, clock } = this.cloud
    const { id: userId } = await db.read
      .selectFrom('users')
      .select('id')
      .where('name', '=', userName)
      .executeTakeFirstOrThrow()
    const { id: projectId } = await db.read
      .selectFrom('projects')
      .select('id')
      .where('name', '=', projectName)
      .executeTakeFirstOrThrow()
    const lifetimeMs = 365 * 24 * 3_600_000
    const issued = await db.transaction((tx) =>
      issueToken(tx, { userId, projectId, methods: ['password'], now: clock.now(), lifetimeMs }),
    )
    if (!issued) throw new Error(`${userName} may not enter ${projectName}.`)
    return this.client(issued.token, userId, projectId)
  }

  /** Another project with a member of its own. */
  async stranger(role: 'admin' | 'member' | 'reader' = 'member'): Promise<Client> {
    const { db, clock } = this.cloud
    const [userId, projectId] = [randomUUID().replaceAll('-', ''), randomUUID().replaceAll('-', '')]
    await db.transaction(async (tx) => {
      const common = { domainId: 'default', isEnabled: 1 } as const
      await tx
        .insertInto('projects')
        .values({ id: projectId, name: projectId, description: '', ...common })
        .execute()
      const user = { id: userId, name: userId, passwordHash: 'none', defaultProjectId: null, createdAt: clock.now() }
      await tx
        .insertInto('users')
        .values({ ...user, ...common })
        .execute()
      const { id: roleId } = await tx
        .selectFrom('roles')
        .select('id')
        .where('name', '=', role)
        .executeTakeFirstOrThrow()
      await tx.insertInto('roleAssignments').values({ userId, projectId, roleId }).execute()
    })
    return this.clientOf(userId, projectId)
  }

  client(token: string, userId: string, projectId: string): Client {
    const request = (options: InjectOptions & { url: string }) => {
      const url = options.url.startsWith('//') ? options.url.slice(1) : `/v2/${projectId}${options.url}`
      return this.app.inject({ ...options, url, headers: { 'x-auth-token': token, ...options.headers } })
    }
    const send = (method: 'POST' | 'PUT') => (url: string, body?: unknown, headers?: Record<string, string>) =>
      request({
        method,
        url,
        ...(body === undefined ? {} : { payload: body as object }),
        ...(headers ? { headers } : {}),
      })
    return {
      token,
      userId,
      projectId,
      request,
      get: (url, headers) => request({ method: 'GET', url, ...(headers ? { headers } : {}) }),
      post: send('POST'),
      put: send('PUT'),
      delete: (url) => request({ method: 'DELETE', url }),
    }
  }

  /** Resolves when all actions rest, done or waiting for the clock, and hosts have followed the network API. */
  async settled(): Promise<void> {
    this.cloud.runner.nudge()
    await this.cloud.runner.settled()
    await this.cloud.networkChanges.settled()
  }

  /** Turns the clock in steps until `isDone`, letting actions run in between. */
  async advanceUntil(isDone: () => Promise<boolean> | boolean, stepMs = 500): Promise<void> {
    const maxMs = 2 * 3_600_000
    for (let passed = 0; passed <= maxMs; passed += stepMs) {
      await this.settled()
      if (await isDone()) return
      this.clock.advance(stepMs)
    }
    throw new Error(`That did not come true within ${maxMs} ms.`)
  }

  /** Actions of a server, oldest first, as `name result`. */
  async actions(name: string): Promise<string[]> {
    const rows = await listActions(this.cloud.db.read, this.id[name] ?? name)
    return rows.map((row) => `${row.name} ${row.result ?? 'open'}`)
  }

  /** The row of a server, deleted or not. */
  async server(name: string): Promise<Row<'servers'>> {
    return this.cloud.db.read
      .selectFrom('servers')
      .selectAll()
      .where('id', '=', this.id[name] ?? name)
      .executeTakeFirstOrThrow()
  }

  /** A create body that is fine. */
  async wish(change: Record<string, unknown> = {}): Promise<{ server: Record<string, unknown> }> {
    const { id: imageRef } = await this.cloud.db.read
      .selectFrom('images')
      .select('id')
      .where('name', '=', 'tiny')
      .executeTakeFirstOrThrow()
    const { id: flavorRef } = await this.cloud.db.read
      .selectFrom('flavors')
      .select('id')
      .where('name', '=', 'tiny')
      .executeTakeFirstOrThrow()
    return { server: { name: 'web', flavorRef, imageRef, ...change } }
  }

  async #addServer(name: string, change: Partial<Row<'servers'>>): Promise<void> {
    const answer = await this.member.post('/servers', await this.wish({ name }))
    if (answer.statusCode !== 202) throw new Error(`The server ${name} was not accepted: ${answer.body}`)
    const { id } = answer.json().server
    this.id[name] = id
    await this.settled()
    if (Object.keys(change).length > 0) {
      await this.cloud.db.transaction((tx) =>
        tx.updateTable('servers').set(change).where('id', '=', id).executeTakeFirst(),
      )
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    await this.#database?.[Symbol.asyncDispose]()
    for (const directory of this.#killed) rmSync(directory, { recursive: true, force: true })
    rmSync(this.#directory, { recursive: true, force: true })
  }
}

/** A cloud for one test: `await using cloud = await testCloud({ database })`. */
export const testCloud = (options: TestCloudOptions = {}): Promise<TestCloud> => TestCloud.open(options)
