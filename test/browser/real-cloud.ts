import { randomUUID } from 'node:crypto'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { InjectOptions } from 'fastify'
import { type Cloud, openCloud } from '../../src/cloud.ts'
import { readConfig } from '../../src/config.ts'
import { type App, buildApp } from '../../src/http/app.ts'
import { newLog } from '../../src/lib/log.ts'
import { prepareSeeds, seed } from '../../src/seed.ts'
import { until } from '../support/until.ts'
import { passwordOf } from './pages.ts'

/** A cloud of real guests that listens on 127.0.0.1, asked as the user `demo`. Deletes its servers at the end. */
export class RealCloud implements AsyncDisposable {
  readonly dataDirectory = mkdtempSync(join(tmpdir(), 'novella-browser-cloud-'))
  base = ''
  readonly #stack = new AsyncDisposableStack()
  #app!: App
  #headers: Record<string, string> = {}
  #project = ''

  private constructor() {}

  static async open(): Promise<RealCloud> {
    const cloud = new RealCloud()
    try {
      await cloud.#start()
      return cloud
    } catch (error) {
      await cloud[Symbol.asyncDispose]()
      throw error
    }
  }

  async #start(): Promise<void> {
    this.#stack.defer(() => rmSync(this.dataDirectory, { recursive: true, force: true }))
    chmodSync(this.dataDirectory, 0o711)
    const { config } = readConfig(
      ['--data', this.dataDirectory, '--host-name', `browser-${randomUUID().slice(0, 8)}`],
      {
        ...(process.env.NOVELLA_CACHE_DIR ? { NOVELLA_CACHE: process.env.NOVELLA_CACHE_DIR } : {}),
        // A user that is there on every machine, and owns nothing.
        NOVELLA_QEMU_USER: 'nobody',
      },
    )
    const cloud: Cloud = this.#stack.use(await openCloud(config, { log: newLog({ write() {} }) }))
    this.#app = await buildApp(cloud)
    this.#stack.defer(() => this.#app.close())
    this.base = await this.#app.listen({ host: '127.0.0.1', port: 0 })
    await seed(cloud, this.base, await prepareSeeds(cloud, () => {}))
    this.#stack.defer(() => this.#deleteServers())
    await this.#logIn()
  }

  /** Asks the API, with the path under `/v2/{project}`; answers the body, undefined when there is none. */
  async ask<Body>(method: 'GET' | 'POST' | 'DELETE', path: string, payload?: object): Promise<Body> {
    return (await this.#send(method, `/v2/${this.#project}${path}`, payload)).body
  }

  /** The newest lines of a server's serial console. */
  async consoleOf(serverId: string): Promise<string> {
    const wish = { 'os-getConsoleOutput': { length: 200 } }
    return (await this.ask<{ output: string }>('POST', `/servers/${serverId}/action`, wish)).output
  }

  async #logIn(): Promise<void> {
    const user = { name: 'demo', domain: { id: 'default' }, password: passwordOf(this.dataDirectory, 'demo') }
    const { body, headers } = await this.#send('POST', '/v3/auth/tokens', {
      auth: {
        identity: { methods: ['password'], password: { user } },
        scope: { project: { name: 'demo', domain: { id: 'default' } } },
      },
    })
    this.#headers = { 'x-auth-token': String(headers['x-subject-token']) }
    this.#project = body.token.project.id
  }

  async #send(method: 'GET' | 'POST' | 'DELETE', url: string, payload?: object) {
    const request: InjectOptions = { method, url, headers: { ...this.#headers, host: new URL(this.base).host } }
    const answer = await this.#app.inject(payload ? { ...request, payload } : request)
    if (answer.statusCode >= 400) throw new Error(`${method} ${url}: ${answer.statusCode} ${answer.body}`)
    return { body: answer.body === '' ? undefined : answer.json(), headers: answer.headers }
  }

  async #deleteServers(): Promise<void> {
    if (this.#project === '') return
    const list = async () => (await this.ask<{ servers: { id: string }[] }>('GET', '/servers')).servers
    for (const { id } of await list()) await this.ask('DELETE', `/servers/${id}`)
    await until('all servers are deleted', async () => (await list()).length === 0)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync()
  }
}
