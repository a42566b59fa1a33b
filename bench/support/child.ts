import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

/** How long any child of a bench may take to say what is awaited of it, in milliseconds. */
const PATIENCE_MS = 120_000

/** A program in a process of its own that is ended when it is disposed. */
export class Child implements AsyncDisposable {
  readonly process: ChildProcess
  readonly #lines: string[] = []
  #onLine: () => void = () => {}
  #errors = ''
  #isEnded = false

  constructor(command: readonly string[]) {
    const [program = '', ...args] = command
    this.process = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    const { stdout, stderr } = this.process
    if (!stdout || !stderr) throw new Error('spawn gave no pipes')
    createInterface({ input: stdout }).on('line', (line) => {
      this.#lines.push(line)
      this.#onLine()
    })
    stderr.on('data', (data) => {
      this.#errors += data
    })
    this.process.once('error', (error) => {
      this.#errors += error.message
    })
    this.process.once('close', () => {
      this.#isEnded = true
      this.#onLine()
    })
  }

  get pid(): number {
    if (this.process.pid === undefined) throw new Error(`The process did not start: ${this.#errors}`)
    return this.process.pid
  }

  /**
   * The next line of its standard output that fits, with what the pattern caught.
   * @throws Error with what it wrote on standard error, when it ends before or says nothing for two minutes.
   */
  async awaitLine(pattern: RegExp): Promise<RegExpExecArray> {
    const deadline = AbortSignal.timeout(PATIENCE_MS)
    for (;;) {
      for (let line = this.#lines.shift(); line !== undefined; line = this.#lines.shift()) {
        const match = pattern.exec(line)
        if (match) return match
      }
      if (this.#isEnded || deadline.aborted) throw new Error(`No line ${pattern} came: ${this.#errors}`)
      await new Promise<void>((resolve) => {
        this.#onLine = resolve
        deadline.addEventListener('abort', () => resolve(), { once: true })
      })
    }
  }

  /** Asks it to end, and waits until it has; after ten seconds it is killed. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isEnded || this.process.pid === undefined) return
    const closed = once(this.process, 'close')
    this.process.kill('SIGTERM')
    const timer = setTimeout(() => this.process.kill('SIGKILL'), 10_000)
    await closed
    clearTimeout(timer)
  }
}
