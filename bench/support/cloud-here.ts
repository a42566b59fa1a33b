import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import { type Cloud, openCloud } from '../../src/cloud.ts'
import { readConfig } from '../../src/config.ts'
import { TINY_FLAVOR_ID } from '../../src/flavors/flavor-seed.ts'
import { MemoryDriver } from '../../src/host/memory/memory-driver.ts'
import { type App, buildApp } from '../../src/http/app.ts'
import { TINY_IMAGE_ID } from '../../src/images/image-store.ts'
import { SHARED_NETWORK_ID } from '../../src/networks/seed-networks.ts'
import { prepareSeeds, seed } from '../../src/seed.ts'
import { DataDirectory } from './cloud-process.ts'

/** Servers asked for in one request. */
const AT_ONCE = 100
/** How long servers may take to get ACTIVE, in milliseconds. */
const PATIENCE_MS = 120_000

/**
 * A cloud in this process, asked without a socket: for what only its inside can tell, as when its host has followed.
 * Memory host, SQLite file, and the user `demo`.
 */
export class CloudHere implements AsyncDisposable {
  readonly cloud: Cloud
  readonly host: MemoryDriver
  readonly #app: App
  readonly #stack: AsyncDisposableStack
  #token = ''
  #projectId = ''

  private constructor(parts: { cloud: Cloud; host: MemoryDriver; app: App; stack: AsyncDisposableStack }) {
    this.cloud = parts.cloud
    this.host = parts.host
    this.#app = parts.app
    this.#stack = parts.stack
  }

  static async open(): Promise<CloudHere> {
    await using stack = new AsyncDisposableStack()
    const data = stack.use(await DataDirectory.make())
    const { config } = readConfig(['--data', data.path, '--driver', 'memory'], {})
    const noQuotas = { quotaServers: -1, quotaVcpus: -1, quotaRamMib: -1 }
    const host = new MemoryDriver()
    const cloud = stack.use(await openCloud({ ...config, ...noQuotas }, { log: pino({ level: 'silent' }), host }))
    const app = await buildApp(cloud)
    stack.defer(() => app.close())
    await seed(cloud, 'http://localhost', await prepareSeeds(cloud, () => {}))
    const here = new CloudHere({ cloud, host, app, stack: stack.move() })
    await here.#logIn(data)
    return here
  }

  /** The answer's body, when the status is that of a success. */
  async ask<Body>(method: 'GET' | 'POST' | 'DELETE', path: string, body?: object): Promise<Body> {
    const answer = await this.#app.inject({
      method,
      url: `/v2/${this.#projectId}${path}`,
      headers: { 'x-auth-token': this.#token },
      ...(body ? { payload: body } : {}),
    })
    if (answer.statusCode >= 300) throw new Error(`${method} ${path}: ${answer.statusCode} ${answer.body}`)
    return (answer.body === '' ? undefined : answer.json()) as Body
  }

  /** Makes servers on the shared network and waits until all run. */
  async createServers(count: number): Promise<void> {
    for (let made = 0; made < count; made += AT_ONCE) {
      const most = Math.min(AT_ONCE, count - made)
      const common = { flavorRef: TINY_FLAVOR_ID, imageRef: TINY_IMAGE_ID, networks: [{ uuid: SHARED_NETWORK_ID }] }
      await this.ask('POST', '/servers', { server: { name: `batch-${made}`, ...common, min_count: most } })
      await this.#untilActive(made + most)
    }
  }

  async #untilActive(count: number): Promise<void> {
    const { read } = this.cloud.db
    const deadline = performance.now() + PATIENCE_MS
    for (;;) {
      const active = await read.selectFrom('servers').select('id').where('vmState', '=', 'active').execute()
      if (active.length === count) return
      if (performance.now() > deadline) throw new Error(`Only ${active.length} of ${count} servers are ACTIVE.`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  async #logIn(data: DataDirectory): Promise<void> {
    const openrc = readFileSync(join(data.path, 'openrc-demo'), 'utf8')
    const [, password] = /^export OS_PASSWORD='(.*)'$/m.exec(openrc) ?? []
    const domain = { name: 'Default' }
    const identity = { methods: ['password'], password: { user: { name: 'demo', domain, password } } }
    const auth = { identity, scope: { project: { name: 'demo', domain } } }
    const answer = await this.#app.inject({ method: 'POST', url: '/v3/auth/tokens', payload: { auth } })
    if (answer.statusCode !== 201) throw new Error(`Logging in: ${answer.statusCode} ${answer.body}`)
    this.#token = String(answer.headers['x-subject-token'])
    this.#projectId = answer.json().token.project.id
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack[Symbol.asyncDispose]()
  }
}
