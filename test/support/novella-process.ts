/** Novella as its own process, asked over HTTP as a user would. */
import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { until } from './until.ts'

const MAIN = join(import.meta.dirname, '../../src/main.ts')

export interface Outcome {
  code: number | null
  stdout: string
  stderr: string
}

/** A data directory of its own that guests' user may pass through, removed at the end. */
export class DataDirectory implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'novella-data-'))
  constructor() {
    chmodSync(this.path, 0o711)
  }
  read(name: string): string {
    return readFileSync(join(this.path, name), 'utf8')
  }
  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}

/** The environment of a Novella under test: ours, without what would set it otherwise. */
function environment(): NodeJS.ProcessEnv {
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(NOVELLA|NODE(?!_COMPILE_CACHE$))_/.test(name)),
  )
  const { NOVELLA_CACHE_DIR: cache, NOVELLA_TEST_RUN: mark } = process.env
  return { ...env, ...(cache ? { NOVELLA_CACHE: cache } : {}), ...(mark ? { NOVELLA_TEST_RUN: mark } : {}) }
}

/** Runs a command of Novella to its end. */
export async function novella(...args: string[]): Promise<Outcome> {
  const child = spawn(process.execPath, [MAIN, ...args], { env: environment(), stdio: ['ignore', 'pipe', 'pipe'] })
  return outcomeOf(child, collect(child))
}

function collect(child: ChildProcess): { stdout: string; stderr: string } {
  const output = { stdout: '', stderr: '' }
  child.stdout?.on('data', (chunk) => {
    output.stdout += chunk
  })
  child.stderr?.on('data', (chunk) => {
    output.stderr += chunk
  })
  return output
}

async function outcomeOf(child: ChildProcess, output: { stdout: string; stderr: string }): Promise<Outcome> {
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
  return { code, ...output }
}

/** A `novella up` that runs. */
export class NovellaProcess {
  readonly #child: ChildProcess
  readonly output: { stdout: string; stderr: string }
  readonly ended: Promise<Outcome>

  /** @param args settings after `--data` and `--listen`. */
  constructor(data: DataDirectory, ...args: string[]) {
    const listen = args.includes('--listen') ? [] : ['--listen', '127.0.0.1:0']
    this.#child = spawn(process.execPath, [MAIN, 'up', '--data', data.path, ...listen, ...args], {
      env: environment(),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.output = collect(this.#child)
    this.ended = outcomeOf(this.#child, this.output)
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** The address it says it is ready at. @throws Error with its output when it ends instead. */
  async ready(): Promise<string> {
    let ended: Outcome | undefined
    void this.ended.then((outcome) => {
      ended = outcome
    })
    await until('novella is ready', () => ended !== undefined || /^ready /m.test(this.output.stdout))
    const url = /^ready (\S+)$/m.exec(this.output.stdout)?.[1]
    if (!url) throw new Error(`novella ended: ${JSON.stringify(ended)}`)
    return url
  }

  /** Asks it to end, and waits until it has. */
  stop(signal: 'SIGTERM' | 'SIGINT' | 'SIGKILL' = 'SIGTERM'): Promise<Outcome> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill(signal)
    return this.ended
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }
}

/** A user's client: curl without the shell. */
export class HttpClient {
  readonly #base: string
  readonly token: string
  readonly projectId: string

  private constructor(base: string, token: string, projectId: string) {
    this.#base = base
    this.token = token
    this.projectId = projectId
  }

  /** Logs in as `demo` with the password in `openrc-demo`. */
  static async logIn(base: string, data: DataDirectory): Promise<HttpClient> {
    const password = /OS_PASSWORD='([^']+)'/.exec(data.read('openrc-demo'))?.[1]
    const user = { name: 'demo', domain: { name: 'Default' }, password }
    const scope = { project: { name: 'demo', domain: { name: 'Default' } } }
    const answer = await fetch(`${base}/v3/auth/tokens`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ auth: { identity: { methods: ['password'], password: { user } }, scope } }),
    })
    if (answer.status !== 201) throw new Error(`login: ${answer.status} ${await answer.text()}`)
    const { token } = (await answer.json()) as { token: { project: { id: string } } }
    return new HttpClient(base, answer.headers.get('x-subject-token') ?? '', token.project.id)
  }

  /** The answer's status and body, under `/v2/{project}`. */
  // biome-ignore lint/suspicious/noExplicitAny: what came over the wire has no type.
  ask(method: string, path: string, body?: unknown): Promise<{ status: number; body: any }> {
    return this.#ask(method, `/v2/${this.projectId}${path}`, body)
  }

  /** The body of the network service's answer, below `/v2.0`. @throws Error when it is no success. */
  // biome-ignore lint/suspicious/noExplicitAny: what came over the wire has no type.
  async network(method: string, path: string, body?: unknown): Promise<any> {
    const answer = await this.#ask(method, `/v2.0${path}`, body)
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`)
    return answer.body
  }

  // biome-ignore lint/suspicious/noExplicitAny: what came over the wire has no type.
  async #ask(method: string, path: string, body?: unknown): Promise<{ status: number; body: any }> {
    const answer = await fetch(this.#base + path, {
      method,
      headers: { 'x-auth-token': this.token, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await answer.text()
    return { status: answer.status, body: text === '' ? undefined : JSON.parse(text) }
  }

  /** Like `ask`, for what must go well. @throws Error with the answer when it does not. */
  // biome-ignore lint/suspicious/noExplicitAny: what came over the wire has no type.
  async get(path: string): Promise<any> {
    const { status, body } = await this.ask('GET', path)
    if (status !== 200) throw new Error(`GET ${path}: ${status} ${JSON.stringify(body)}`)
    return body
  }

  async act(serverId: string, action: object): Promise<void> {
    const { status, body } = await this.ask('POST', `/servers/${serverId}/action`, action)
    if (status !== 202) throw new Error(`${JSON.stringify(action)}: ${status} ${JSON.stringify(body)}`)
  }

  /** Waits until a server is in this status and has no task. @throws Error when it ends in ERROR. */
  async becomes(serverId: string, status: string): Promise<void> {
    await until(`server ${serverId} is ${status}`, async () => {
      const { server } = await this.get(`/servers/${serverId}`)
      if (server.status === 'ERROR' && status !== 'ERROR') throw new Error(`ERROR: ${JSON.stringify(server.fault)}`)
      return server.status === status && server['OS-EXT-STS:task_state'] === null
    })
  }

  /** Waits until a server is gone. */
  async vanishes(serverId: string): Promise<void> {
    await until(
      `server ${serverId} is gone`,
      async () => (await this.ask('GET', `/servers/${serverId}`)).status === 404,
    )
  }

  async consoleOf(serverId: string): Promise<string> {
    const { body } = await this.ask('POST', `/servers/${serverId}/action`, { 'os-getConsoleOutput': {} })
    return body.output
  }

  /** Waits for a text on the serial console. */
  async prints(serverId: string, text: RegExp): Promise<void> {
    await until(`the console of ${serverId} shows ${text}`, async () => text.test(await this.consoleOf(serverId)))
  }
}
