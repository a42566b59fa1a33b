import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { TINY_FLAVOR_ID } from '../../src/flavors/flavor-seed.ts'
import { TINY_IMAGE_ID } from '../../src/images/image-store.ts'
import { SHARED_NETWORK_ID } from '../../src/networks/seed-networks.ts'
import { Child } from './child.ts'

/** It execs, so that its process is Novella's. */
const LAUNCHER = join(import.meta.dirname, '../../novella')
/** Nobody here is a tenant to be held back. */
const NO_QUOTAS = ['servers', 'vcpus', 'ram-mib'].flatMap((name) => [`--quota-${name}`, '-1'])
/** How long a server may take to get where it should, in milliseconds. */
const PATIENCE_MS = 120_000

/** A data directory that goes when it is disposed. Open to look into, since QEMU runs as a user who owns nothing. */
export class DataDirectory implements AsyncDisposable {
  readonly path: string

  private constructor(path: string) {
    this.path = path
  }

  static async make(): Promise<DataDirectory> {
    return new DataDirectory(await mkdtemp(join(tmpdir(), 'novella-bench-')))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { recursive: true, force: true })
  }
}

export interface ShownServer {
  id: string
  status: string
  addresses: Record<string, { 'UOS-EXT-IPS:id': string }[]>
}

/** Novella in a process of its own, as a user starts it, and its user `demo`. */
export class CloudProcess implements AsyncDisposable {
  readonly url: string
  readonly #child: Child
  #headers: Record<string, string> = {}
  #projectId = ''

  private constructor(child: Child, url: string) {
    this.#child = child
    this.url = url
  }

  /** Starts it on a data directory and logs in. */
  static async start(data: DataDirectory, args: readonly string[] = ['--driver', 'memory']): Promise<CloudProcess> {
    const child = new Child([
      ...[LAUNCHER, 'up', '--data', data.path, '--listen', '127.0.0.1:0', '--no-first-server'],
      ...NO_QUOTAS,
      ...args,
    ])
    try {
      const [, url = ''] = await child.awaitLine(/^ready (http:\S+)$/)
      const cloud = new CloudProcess(child, url)
      await cloud.#logIn(data)
      return cloud
    } catch (error) {
      await child[Symbol.asyncDispose]()
      throw error
    }
  }

  get pid(): number {
    return this.#child.pid
  }

  /** What every request of the user carries. */
  get headers(): Record<string, string> {
    return this.#headers
  }

  /** Absolute URL of a path under the project. */
  at(path: string): string {
    return `${this.url}/v2/${this.#projectId}${path}`
  }

  /** Asks for a server (or `count`); answered with 202, not built yet. */
  async createServer(name: string, count = 1, wish: object = {}): Promise<string> {
    const server = {
      name,
      flavorRef: TINY_FLAVOR_ID,
      imageRef: TINY_IMAGE_ID,
      networks: [{ uuid: SHARED_NETWORK_ID }],
      max_count: count,
      ...wish,
    }
    const answer = await this.ask('POST', '/servers', { server })
    const { server: created } = (await answer.json()) as { server: ShownServer }
    return created.id
  }

  async readServer(id: string): Promise<ShownServer> {
    const answer = await this.ask('GET', `/servers/${id}`)
    return ((await answer.json()) as { server: ShownServer }).server
  }

  /** Asks again and again, without a pause, until the server is ACTIVE. */
  async untilActive(id: string): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS
    for (;;) {
      const { status } = await this.readServer(id)
      if (status === 'ACTIVE') return
      if (status === 'ERROR' || performance.now() > deadline) throw new Error(`Server ${id} is ${status}.`)
    }
  }

  /** How many servers are ACTIVE, as the first page of a thousand shows. */
  async countActive(): Promise<number> {
    const answer = await this.ask('GET', '/servers?limit=1000&status=ACTIVE')
    return ((await answer.json()) as { servers: unknown[] }).servers.length
  }

  async readImage(id: string): Promise<{ status: string }> {
    const answer = await fetch(`${this.url}/v2/images/${id}`, { headers: this.#headers })
    return (await answer.json()) as { status: string }
  }

  async deleteImage(id: string): Promise<void> {
    await fetch(`${this.url}/v2/images/${id}`, { method: 'DELETE', headers: { ...this.#headers, 'content-type': '' } })
  }

  /** The id of a server's first port. */
  async readPortId(id: string): Promise<string> {
    const [cards] = Object.values((await this.readServer(id)).addresses)
    const portId = cards?.[0]?.['UOS-EXT-IPS:id']
    if (portId === undefined) throw new Error(`Server ${id} has no address.`)
    return portId
  }

  /** Cuts a server's power and waits until it is off. */
  async stopServer(id: string): Promise<void> {
    await this.untilActive(id)
    await this.ask('POST', `/servers/${id}/action`, { 'os-stop': null })
    const deadline = performance.now() + PATIENCE_MS
    while ((await this.readServer(id)).status !== 'SHUTOFF') {
      if (performance.now() > deadline) throw new Error(`Server ${id} does not stop.`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  /** Deletes a server and waits until it is gone. */
  async deleteServer(id: string): Promise<void> {
    await this.ask('DELETE', `/servers/${id}`)
    const deadline = performance.now() + PATIENCE_MS
    while ((await fetch(this.at(`/servers/${id}`), { headers: this.#headers })).status !== 404) {
      if (performance.now() > deadline) throw new Error(`Server ${id} does not go.`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  /** A request under the project. @throws Error for an answer other than 2xx. */
  async ask(method: string, path: string, body?: object): Promise<Response> {
    const answer = await fetch(this.at(path), {
      method,
      headers: this.#headers,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`)
    return answer
  }

  async #logIn(data: DataDirectory): Promise<void> {
    const openrc = readFileSync(join(data.path, 'openrc-demo'), 'utf8')
    const [, password] = /^export OS_PASSWORD='(.*)'$/m.exec(openrc) ?? []
    const domain = { name: 'Default' }
    const user = { name: 'demo', domain, password }
    const scope = { project: { name: 'demo', domain } }
    const auth = { identity: { methods: ['password'], password: { user } }, scope }
    const headers = { 'content-type': 'application/json' }
    const answer = await fetch(`${this.url}/v3/auth/tokens`, {
      method: 'POST',
      headers,
      body: JSON.stringify({ auth }),
    })
    if (answer.status !== 201) throw new Error(`Logging in: ${answer.status} ${await answer.text()}`)
    const { token } = (await answer.json()) as { token: { project: { id: string } } }
    this.#projectId = token.project.id
    this.#headers = { 'x-auth-token': answer.headers.get('x-subject-token') ?? '', 'content-type': 'application/json' }
  }

  /** Stops it as Ctrl-C does; guests go on running. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child[Symbol.asyncDispose]()
  }
}
