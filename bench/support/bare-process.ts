import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Child } from './child.ts'

/** bare-fastify.ts in a process of its own. */
export class BareProcess implements AsyncDisposable {
  readonly url: string
  readonly #child: Child
  readonly #directory: string

  private constructor(child: Child, url: string, directory: string) {
    this.#child = child
    this.url = url
    this.#directory = directory
  }

  /** @param answer what its GET answers, JSON. */
  static async start(answer = '{}'): Promise<BareProcess> {
    const directory = await mkdtemp(join(tmpdir(), 'novella-bare-'))
    await writeFile(join(directory, 'answer.json'), answer)
    const child = new Child([process.execPath, join(import.meta.dirname, 'bare-fastify.ts'), directory])
    try {
      const [, url = ''] = await child.awaitLine(/^ready (http:\S+)$/)
      return new BareProcess(child, url, directory)
    } catch (error) {
      await child[Symbol.asyncDispose]()
      await rm(directory, { recursive: true, force: true })
      throw error
    }
  }

  get pid(): number {
    return this.#child.pid
  }

  /** One durable row. */
  async post(body: object): Promise<void> {
    const headers = { 'content-type': 'application/json' }
    const answer = await fetch(this.url, { method: 'POST', headers, body: JSON.stringify(body) })
    if (answer.status !== 202) throw new Error(`The bare server answered ${answer.status}.`)
    await answer.text()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child[Symbol.asyncDispose]()
    await rm(this.#directory, { recursive: true, force: true })
  }
}
